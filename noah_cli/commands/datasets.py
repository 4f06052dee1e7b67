"""`noah datasets`: lists the named datasets and where they were found; `noah datasets check` is in `datasets_check`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from noah_cli.terminal.console import open_listener

if TYPE_CHECKING:  # It takes its time to import.
    from noah.data.sources.catalogue import Entry


def datasets(
    context: typer.Context,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the named datasets; if not given, data.", metavar="FOLDER")
    ] = None,
) -> None:
    """List the datasets that --dataset and `noah eval --on` know, and where each was found.

    `noah datasets check` looks at all images of one.
    """
    if context.invoked_subcommand is not None:
        return
    from noah.data.sources.catalogue import ON, list_datasets
    from noah.settings.layers import PROJECT_FILE, file_layer, resolve

    if data_root is None:
        settings, _ = resolve([file_layer(PROJECT_FILE)] if PROJECT_FILE.is_file() else [])
        data_root = Path(settings.data.root)
    entries = list_datasets(data_root)
    listener = open_listener(context)
    console = listener.console
    console.print(
        f"Looked for in [bold]{escape(str(data_root))}[/bold]; natural, specialized and structured are VTAB-1k.",
        soft_wrap=True,
    )
    console.print(_table([entry for entry in entries if entry.group != ON]))
    console.print("With test images only, for [bold]noah eval --on[/bold] after training on another dataset:")
    console.print(_table([entry for entry in entries if entry.group == ON]))
    console.print(
        "Put missing ones there; github.com/ZhangYuanhan-AI/NOAH, by the paper's authors, says where to get them. "
        "For your own images, use --data FOLDER."
    )
    listener.result({"root": str(data_root), "datasets": [asdict(entry) for entry in entries]})


def _table(entries: Sequence[Entry]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("name", no_wrap=True)
    table.add_column("experiment", no_wrap=True)
    table.add_column("classes", justify="right", no_wrap=True)
    table.add_column("where", overflow="fold")
    for entry in entries:
        style = "" if entry.present else "dim"
        table.add_row(escape(entry.name), entry.group, f"{entry.classes:,}", escape(entry.where), style=style)
    return table
