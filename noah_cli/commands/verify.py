"""`noah verify`: checks that a run is unchanged since it was written, and that its weights give its figures."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from noah.errors import NoahError, UsageError
from noah.files.latest import DEFAULT_RUNS
from noah.settings.option_layers import option_layers
from noah_cli.options.options import (
    DeviceOption,
    MovedDataOption,
    PrecisionOption,
    RunArgument,
    RunsOption,
    SameRunOption,
    ThreadsOption,
    named_run,
)
from noah_cli.terminal import console

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from noah.checks.verification import Check
    from noah.runs.folder import Run
    from noah.settings.layers import Layer

_LABELS = {"ok": "ok", "failed": "FAILED", "absent": "not there", "note": "note"}


def verify(
    context: typer.Context,
    run: RunArgument = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Only compare hashes and files; open no image and measure nothing.")
    ] = False,
    data: MovedDataOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    same_run: SameRunOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Check that a run's files are unchanged, belong together, and still give the stored accuracies.

    The test split is measured again only if it was measured before. Nothing is written.
    """
    from noah.runs.folder import open_run

    hardware = option_layers(device=device, precision=precision, threads=threads)
    if quick and data is not None:
        raise UsageError("--data has no effect with --quick, which opens no image.", "Leave one of them out.")
    if quick and hardware:
        raise UsageError(
            f"{' and '.join(layer.source for layer in hardware)} has no effect with --quick, which computes nothing.",
            "Leave one of them out.",
        )
    listener = console.open_listener(context)
    current = open_run(runs, named_run(run, same_run))
    listener.say(f"run       {current.folder}")
    counts = dict.fromkeys(_LABELS, 0)
    following: dict[str, str] = {}
    checks = []
    for check in _checks(current, listener, hardware, data, quick=quick):
        checks.append({"what": check.what, "state": check.state, "why": check.why})
        listener.say(f"{_LABELS[check.state]:<10}{check.what}: {check.why.rstrip('.')}")
        counts[check.state] += 1
        if check.following:
            following.setdefault(check.state, check.following)
    told = f"{counts['ok']} ok, {counts['failed']} failed, {counts['absent']} not there to check"
    if counts["note"]:
        told += ", 1 note"  # there is one for all files
    listener.say(f"verified  {told}{'; --quick measured nothing again' if quick else ''}")
    command = following.get("failed") if counts["failed"] else following.get("absent")
    if command:
        listener.say_next(command)
    listener.result({"run": str(current.folder), **counts, "checks": checks})
    if counts["failed"]:
        raise typer.Exit(1)


def _checks(
    run: Run, listener: console.ConsoleListener, hardware: list[Layer], data: Path | None, *, quick: bool
) -> Iterator[Check]:
    """Yield the result of each check as soon as it is made."""
    from export.checks.belonging import check_artifacts
    from noah.checks.verification import Check, check_run

    yield from check_run(run)
    yield from check_artifacts(run)
    if not quick:
        from export.checks.artifact_reproduction import reproduce_artifacts
        from noah.checks.reproduction import reproduce
        from noah.prepare.prepare_run import prepare_run

        try:
            materials = prepare_run(run, listener, hardware, data=data)
        except NoahError as error:
            yield Check("images and backbone", "failed", error.problem, error.hint)
            return
        yield from reproduce(run, materials, listener)
        yield from reproduce_artifacts(run, materials, listener)
