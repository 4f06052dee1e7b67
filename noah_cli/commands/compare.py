"""`noah compare`: shows runs side by side, and tests whether each differs from the first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.markup import escape
from rich.table import Table

from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS
from noah.settings.option_layers import option_layers
from noah_cli.options.completion import complete_run
from noah_cli.options.options import DeviceOption, PrecisionOption, RunsOption, ThreadsOption, run_options
from noah_cli.terminal import console

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from noah.checks.comparison import Pair, RunFigures
    from noah.evaluation.significance import Proportion
    from noah.hardware.device import Hardware
    from noah.runs.folder import Run

_UNKNOWN = "-"
_SMALLEST_IN_FULL = 0.001
"""A smaller p-value is written with an exponent."""


def compare(
    context: typer.Context,
    names: Annotated[
        list[str],
        typer.Argument(
            help="Two or more runs, each as DATASET/ID or a path.", metavar="RUNS", autocompletion=complete_run
        ),
    ],
    latency: Annotated[
        bool, typer.Option("--latency", help="Time each merged network now, in turns with its plain backbone.")
    ] = False,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Show runs side by side, and how certain it is that each differs from the first.

    Only run folders are read; no image is opened. --device, --precision and --threads apply to --latency.
    """
    from noah.checks.comparison import check_runs, pair_with_first, read_figures
    from noah.cost.latency import BATCH_SIZE, ROUNDS
    from noah.hardware.device import choose_hardware
    from noah.runs.folder import open_run
    from noah.settings.layers import resolve

    hardware_options = option_layers(device=device, precision=precision, threads=threads)
    if hardware_options and not latency:
        given, several = " and ".join(layer.source for layer in hardware_options), len(hardware_options) > 1
        raise UsageError(
            f"{given} {'have' if several else 'has'} no effect without --latency.",
            f"Leave {'them' if several else 'it'} out, or add --latency.",
        )
    listener = console.open_listener(context)
    opened = [open_run(runs, name) for name in names]
    check_runs(opened)
    figures = [read_figures(run) for run in opened]
    same_names = len({run.name for run in opened}) < len(opened)
    label_of = {run: str(run.folder) if same_names else run.name for run in opened}
    hardware = choose_hardware(resolve(hardware_options)[0].hardware) if latency else None
    _print_figures(listener, figures, label_of, _time(listener, figures, label_of, hardware) if hardware else None)
    if hardware:
        listener.say(
            f"latency   of batches of {BATCH_SIZE} images in torch on {hardware.device} in {hardware.precision}, "
            f"threads: {hardware.threads}; medians of {ROUNDS} turns each"
        )
    pairs, elsewhere = pair_with_first(figures)
    listener.result({"runs": [_facts(one) for one in figures], "pairs": [_pair_facts(pair) for pair in pairs]})
    _print_pairs(listener, pairs, label_of, label_of[opened[0]])
    for other in elsewhere:
        listener.say(
            f"unpaired  {label_of[other.run]} was tested on other images than {label_of[opened[0]]}: the two cannot be "
            "paired."
        )
    for one in figures:
        if one.missing:
            so = ", so none can be paired with it" if one is figures[0] else ""
            listener.say(f"unpaired  {label_of[one.run]}: {one.missing.problem}{so}.")
            listener.say_next(f"{one.missing.command}{run_options(one.run.folder, runs, always=True)}")


def _facts(one: RunFigures) -> dict[str, object]:
    """Give a run's figures in JSON's types."""
    return {
        "run": str(one.run.folder),
        "method": one.method,
        "subnet": None if one.subnet is None else one.subnet.to_json(),
        "parameters": one.parameters,
        "relative_macs": one.relative_macs,
        "validation": None if one.validation is None else asdict(one.validation),
        "test": None if one.test is None else asdict(one.test),
    }


def _pair_facts(pair: Pair) -> dict[str, object]:
    """Give a pair's figures in JSON's types."""
    return {
        "run": str(pair.figures.run.folder),
        "only_this": pair.only_this,
        "only_first": pair.only_first,
        "total": pair.total,
        "p_value": pair.p_value,
    }


def _time(
    listener: console.ConsoleListener, figures: Sequence[RunFigures], label_of: Mapping[Run, str], hardware: Hardware
) -> list[str]:
    """Measure the latency of each run's merged network, and give it as text."""
    from noah.cost.latency import ROUNDS, relative_latency

    texts = []
    for one in figures:
        if one.subnet is None:
            texts.append(_UNKNOWN)
            continue
        with listener.bar(f"timing {label_of[one.run]}", ROUNDS, "rounds") as bar:
            ratio = relative_latency(one.architecture, one.image_size, one.num_classes, one.subnet, hardware, bar)
        texts.append(f"{ratio:.2f}x")
    return texts


def _print_figures(
    listener: console.ConsoleListener,
    figures: Sequence[RunFigures],
    label_of: Mapping[Run, str],
    times: Sequence[str] | None,
) -> None:
    """Print the table of what each run costs and how accurate it is."""
    columns = ["run", "parameters", "MACs", "validation", "test"]
    lines = [
        [
            f"{label_of[one.run]}\n{one.method.replace('+', ' + ')}",  # so that a long one breaks between modules
            _UNKNOWN if one.parameters is None else f"{one.parameters:,}",
            _UNKNOWN if one.relative_macs is None else f"{one.relative_macs:.3f}x",
            _share(one.validation),
            _share(one.test),
        ]
        for one in figures
    ]
    if times is not None:
        columns.insert(3, "latency")
        for line, text in zip(lines, times, strict=True):
            line.insert(3, text)
    _draw(listener, columns, lines)
    listener.say("accuracy  in percent, with Wilson's 95 % confidence interval")
    if any(one.validation for one in figures):
        listener.say("          A winner was chosen on its validation images, so expect less elsewhere.")
    listener.say(
        f"MACs      {'and latency ' if times is not None else ''}of the merged network, relative to the plain "
        "backbone; parameters without the head"
    )


def _print_pairs(
    listener: console.ConsoleListener, pairs: Sequence[Pair], label_of: Mapping[Run, str], first: str
) -> None:
    """Print the table of paired differences, unless nothing could be paired."""
    if not pairs:
        return
    lines = [
        [
            label_of[pair.figures.run],
            f"{100 * pair.difference:+.2f}",
            f"{pair.only_this:,}",
            f"{pair.only_first:,}",
            f"{pair.p_value:.3f}" if pair.p_value >= _SMALLEST_IN_FULL else f"{pair.p_value:.1e}",
        ]
        for pair in pairs
    ]
    _draw(listener, ["run", "difference", "only it right", "only first right", "p-value"], lines)
    listener.say(
        f"paired    with {first} on the same {pairs[0].total:,} test images; differences are in percentage points"
    )
    correction = f", corrected by Holm for {len(pairs)} comparisons" if len(pairs) > 1 else ""
    listener.say(f"p-value   of McNemar's exact test, two-sided{correction}")


def _draw(listener: console.ConsoleListener, columns: list[str], lines: list[list[str]]) -> None:
    """Print a table whose first column is narrowed if the line is too long; second lines of cells are dimmed."""
    drawn = Table(box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        drawn.add_column(column, justify="right" if number else "left", no_wrap=bool(number), overflow="fold")
    for line in lines:
        cells = (cell.partition("\n") for cell in map(escape, line))
        drawn.add_row(*(f"{first}\n[dim]{second}[/dim]" if second else first for first, _, second in cells))
    listener.console.print(drawn)


def _share(share: Proportion | None) -> str:
    """Format a share in percent, with its interval on a second line."""
    if share is None:
        return _UNKNOWN
    low, high = share.interval
    return f"{100 * share.share:.2f}\n{100 * low:.1f} to {100 * high:.1f}"
