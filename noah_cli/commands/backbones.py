"""`noah backbones`: lists timm's architectures, what they cost, and why some cannot be used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from noah_cli.options.completion import complete_architecture
from noah_cli.terminal.console import open_listener

if TYPE_CHECKING:  # It takes its time to import.
    from rich.console import Console

    from noah.cost.backbone_list import BackboneRow

_FEW = 8
"""Up to so many architectures are told with all of their weights."""


def backbones(
    context: typer.Context,
    pattern: Annotated[
        str | None,
        typer.Argument(
            help="Part of a name, a pattern such as 'vit_small_*', or a name of Hugging Face's hub; all vision "
            "transformers if not given.",
            metavar="PATTERN",
            autocompletion=complete_architecture,
        ),
    ] = None,
) -> None:
    """List the architectures that --backbone takes, their cost and weights, and why others are refused."""
    from noah.cost.backbone_list import list_backbones, matching_architectures

    listener = open_listener(context)
    console = listener.console
    names = matching_architectures(pattern)
    with listener.bar("building every architecture, without weights", len(names), "architectures") as bar:
        rows = list_backbones(names, bar.update)
    covered = [row for row in rows if row.covered]
    refused = [row for row in rows if not row.covered]
    if covered:
        console.print(_table(covered))
        console.print(
            "px, tokens and MACs (multiply-accumulates) are those of an image at the size that timm has; weights are "
            "how many timm knows, and how many of them are in the cache.",
        )
    if len(covered) <= _FEW:
        _tell_weights(console, covered)
    _tell_dear(console, [row for row in covered if row.cheaper])
    _tell_refused(console, refused)
    console.print(f"\n{len(covered)} of {len(rows)} are covered. Take one with: noah search --backbone NAME")
    listener.result({"covered": len(covered), "backbones": [row.to_json() for row in rows]})


def _table(rows: Sequence[BackboneRow]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("architecture", overflow="fold")
    for name in ("size", "px", "tokens", "MACs", "weights"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cached = f" ({len(row.cached)})" if row.cached else ""
        table.add_row(
            escape(row.architecture),
            _short(row.parameters or 0),
            str(row.image_size[1]) if row.image_size else "",
            f"{row.tokens:,}",
            _short(row.macs or 0),
            f"{len(row.weights) or '-'}{cached}",
        )
    return table


def _tell_weights(console: Console, rows: Sequence[BackboneRow]) -> None:
    """Name the weights of each architecture, and which are in the cache."""
    for row in rows:
        tags = [f"{tag}{' (in the cache)' if tag in row.cached else ''}" for tag in row.weights]
        names = ", ".join(f".{tag}" for tag in tags) or "none; give a file with --backbone FILE --backbone-arch NAME"
        console.print(f"[bold]{escape(row.architecture)}[/bold] {escape(names)}")


def _tell_dear(console: Console, rows: Sequence[BackboneRow]) -> None:
    """Recommend a smaller image size where the own one is dear, with the cost of both."""
    if not rows:
        return
    console.print("\nDear at their own size; --image-size makes them cheaper:")
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("architecture", overflow="fold")
    for name in ("tokens", "MACs", "--image-size", "tokens", "MACs"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in rows:
        cheaper = row.cheaper
        if cheaper is not None:
            own = (f"{row.tokens:,}", _short(row.macs or 0))
            table.add_row(
                escape(row.architecture), *own, str(cheaper.side), f"{cheaper.tokens:,}", _short(cheaper.macs)
            )
    console.print(table)


def _tell_refused(console: Console, rows: Sequence[BackboneRow]) -> None:
    """List what is refused by reason, each with the nearest that works."""
    reasons: dict[str, list[BackboneRow]] = {}
    for row in rows:
        reasons.setdefault(row.reason, []).append(row)
    for reason, alike in sorted(reasons.items(), key=lambda one: -len(one[1])):
        console.print(f"\n[bold]Refused:[/bold] {escape(reason)}.")
        table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
        table.add_column("architecture", overflow="fold")
        table.add_column("nearest that works", overflow="fold")
        for row in alike:
            table.add_row(escape(row.architecture), escape(row.nearest or "-"))
        console.print(table)


def _short(count: int) -> str:
    """Write a count with three digits: 86.6M, 1.14G."""
    for unit, letter in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= unit:
            return f"{count / unit:.3g}{letter}" if count < 1000 * unit else f"{count / unit:,.0f}{letter}"
    return str(count)
