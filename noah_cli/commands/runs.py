"""`noah runs`: lists the runs with size, stage and accuracy, and removes those that are named."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS
from noah.hardware.memory import format_bytes
from noah_cli.options.completion import complete_run
from noah_cli.options.options import RunsOption
from noah_cli.terminal import console

if TYPE_CHECKING:  # it takes its time to import
    from noah.runs.listing import ListedRun


def runs(
    context: typer.Context,
    remove: Annotated[
        list[str] | None,
        typer.Option(
            "--remove",
            help="Remove this run with everything in it, after asking; may be repeated.",
            metavar="RUN",
            autocompletion=complete_run,
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """List all runs, the oldest first, with the last stage that is done, the test accuracy and the size."""
    from noah.runs.listing import find_latest, list_runs

    listener = console.open_listener(context)
    if yes and not remove:
        raise UsageError("--yes has no effect without --remove.", "Leave it out.")
    if remove:
        _remove(listener, runs, remove, yes=yes)
        return
    listed = list_runs(runs)
    _tell_damage(listener, find_latest(runs)[1])
    if listed:
        listener.console.print(_table(listed))
        total = format_bytes(sum(run.bytes for run in listed))
        listener.say(f"runs      {len(listed):,} below {runs}/, {total}; * is the latest")
    else:
        listener.say(f"runs      none below {runs}/")
    listener.result({"root": str(runs), "runs": [run.to_json() for run in listed]})


def _table(listed: Sequence[ListedRun]) -> Table:
    table = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", overflow="fold")
    table.add_column("begun", no_wrap=True)
    table.add_column("stage", no_wrap=True)
    table.add_column("accuracy", justify="right", no_wrap=True)
    table.add_column("exports", justify="right", no_wrap=True)
    table.add_column("size", justify="right", no_wrap=True)
    for run in listed:
        table.add_row(
            escape(f"{run.name}{' *' if run.is_latest else ''}"),
            run.created[:10],
            f"{run.stage}{', busy' if run.is_busy else ''}",
            "" if run.accuracy is None else f"{run.accuracy:.1%}",
            str(run.artifacts or ""),
            format_bytes(run.bytes),
        )
    return table


def _tell_damage(listener: console.ConsoleListener, why_unknown: str) -> None:
    if why_unknown:
        listener.say(f"note      {why_unknown}")


def _remove(listener: console.ConsoleListener, root: Path, names: Sequence[str], *, yes: bool) -> None:
    from noah.runs.folder import open_run
    from noah.runs.listing import check_named, check_removable, find_latest, look_at, remove_runs

    chosen = list({run.folder.resolve(): run for run in (open_run(root, name) for name in names)}.values())
    check_named(root, chosen)
    check_removable(chosen)
    latest, why_unknown = find_latest(root)
    _tell_damage(listener, why_unknown)
    listed = [look_at(run, latest) for run in chosen]
    for run in listed:
        also = ", the latest run" if run.is_latest else ""
        tested = "" if run.accuracy is None else f", {run.accuracy:.1%} right in its test"
        listener.say(f"remove    {run.name}{also}: {run.stage}{tested}, {format_bytes(run.bytes)}")
    if not yes:
        if listener.output.json or not sys.stdin.isatty():
            raise UsageError("Nothing was removed, as nobody can be asked here.", "Add --yes to remove without asking.")
        if not typer.confirm(f"Remove {'it' if len(chosen) == 1 else f'these {len(chosen)} runs'} for good?"):
            listener.say("runs      nothing was removed")
            raise typer.Exit(1)
    now = remove_runs(root, chosen)
    listener.say(f"removed   {', '.join(run.name for run in listed)}")
    if any(run.is_latest for run in listed):
        listener.say(f"latest    {'no run is left' if now is None else f'is {now} now'}")
    listener.result({"root": str(root), "removed": [run.to_json() for run in listed], "latest": now})
