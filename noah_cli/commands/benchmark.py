"""`noah benchmark`: runs methods on tasks and seeds, and keeps each result as soon as it is there."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.markup import escape
from rich.table import Table as RichTable

from noah.api.new_settings import project_layers
from noah.errors import UsageError
from noah.settings.layers import assignment_layer, file_layer, recipe_layer
from noah.settings.option_layers import option_layers
from noah_cli.options.options import (
    BackboneArchOption,
    BackboneArgOption,
    BackboneOption,
    ConfigOption,
    DataRootOption,
    DeviceOption,
    PrecisionOption,
    RayOption,
    RecipeOption,
    SetOption,
    ThreadsOption,
    WorkersOption,
)
from noah_cli.terminal import console

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from noah.benchmark.suites import Suite
    from noah.benchmark.sweep import Failure
    from noah.benchmark.tables import Table

_NAMED_HINTS = 3
_WIDEST_HEADING = 12
_UNBOUNDED = 10_000


def benchmark(
    context: typer.Context,
    suite: Annotated[
        Literal["vtab", "pocket"],
        typer.Argument(
            help="vtab: the 19 tasks of VTAB-1k. pocket: small tasks that need no download.", metavar="SUITE"
        ),
    ],
    tasks: Annotated[
        str | None,
        typer.Option(
            "--tasks", help="Tasks or their datasets to run, separated by commas; if not given, all.", metavar="NAMES"
        ),
    ] = None,
    parts: Annotated[
        list[str] | None,
        typer.Option(
            "--part",
            help="What to measure: accuracy, with all training images; few-shot, with 1 to 16 images a class; shift, "
            "on test images of another kind. May be repeated; if not given, all that the suite has.",
            metavar="PART",
        ),
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="Methods, separated by commas: noah searches a subnet, published takes the paper's; linear, lora:8, "
            "lora_all:4, adapter:8, prompt:50, bias and the like train the same modules in every block. If not given, "
            "the suite's; pocket's have every kind of module, most as large as the budget.",
            metavar="NAMES",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, separated by commas.", metavar="NUMBERS")] = "0,1,2",
    shard: Annotated[str | None, typer.Option("--shard", hidden=True)] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for the results; if not given, benchmarks/SUITE.", metavar="FOLDER"),
    ] = None,
    ray: RayOption = None,
    workers: WorkersOption = 1,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            help="With --ray: a place that all machines see, where unfinished runs are kept so that they go on "
            "elsewhere: a folder, or a URL such as s3://BUCKET/FOLDER. If not given, storage/ in the results' folder. "
            "(In noah search it is a database.)",
            metavar="PLACE",
        ),
    ] = None,
    gpus: Annotated[
        float | None,
        typer.Option(
            "--gpus",
            help="With --ray: GPUs for each cell; with 0.5, two share one. If not given, 1.",
            min=0.01,
            max=1.0,
        ),
    ] = None,
    only_tables: Annotated[
        bool, typer.Option("--only-tables", help="Only show the tables of the results so far; train nothing.")
    ] = False,
    backbone: BackboneOption = None,
    backbone_arch: BackboneArchOption = None,
    backbone_arg: BackboneArgOption = None,
    recipe: RecipeOption = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Compare methods on many tasks and seeds; run it again to go on with whatever is missing."""
    from noah.benchmark.cells import parse_methods, parse_seeds, plan_cells
    from noah.benchmark.cluster_sweep import Spread, run_sweep_on_cluster
    from noah.benchmark.local_sweep import run_sweep_in_processes
    from noah.benchmark.rows import read_rows, row_path
    from noah.benchmark.suites import SUITES, VTAB
    from noah.benchmark.sweep import run_sweep
    from noah.benchmark.sweep_settings import SweepSettings, sweep_suite
    from noah.benchmark.tables import sweep_tables

    if shard is not None:
        raise UsageError(
            "--shard is gone: work is no longer divided by hand.",
            "Type --workers N for processes of this machine, or --ray auto for all machines of a cluster.",
        )
    if ray is not None and workers > 1:
        raise UsageError(
            "--workers starts processes of this machine, and --ray places them itself.", "Leave out --workers."
        )
    if ray is None and (storage is not None or gpus is not None):
        option = "--storage" if storage is not None else "--gpus"
        raise UsageError(f"{option} says how cells are spread over machines.", "Add --ray, or leave it out.")
    listener = console.open_listener(context)
    chosen = SUITES[suite]
    measured = chosen.choose_parts(parts)
    names = tuple(task.name for task in chosen.choose(tasks, measured))
    named = None if methods is None else parse_methods(methods, published=chosen is VTAB)
    numbers = parse_seeds(seeds)
    folder = out or Path("benchmarks") / suite
    written = partial(write_tables, chosen, folder)

    failures = []
    if not only_tables:
        changes = project_layers(listener) + [file_layer(path) for path in config or []]
        changes += option_layers(
            backbone=backbone, backbone_arch=backbone_arch, backbone_arg=backbone_arg, data_root=data_root
        )
        changes += [assignment_layer(text) for text in assignments or []]
        changes += option_layers(device=device, precision=precision, threads=threads)
        sweep = SweepSettings(chosen, recipe_layer(recipe or chosen.recipe), tuple(changes))
        compared = sweep.methods() if named is None else named
        cells = plan_cells(names, compared, numbers)
        done = sum(row_path(folder, cell).exists() for cell in cells)
        listener.say(
            f"sweep     {len(cells)} cells ({len(names)} tasks, {len(compared)} methods, seeds {seeds}); "
            f"{done} are done already"
        )
        listener.say(f"recipe    {recipe or chosen.recipe}{'' if recipe else ' (named by the suite)'}")
        listener.say(f"results   {folder}")

        def run() -> list[Failure]:
            if workers > 1:
                return run_sweep_in_processes(sweep, cells, folder, listener, workers, written)
            if ray is None:
                return run_sweep(sweep, cells, folder, listener, written)
            spread = Spread(ray, storage, 1.0 if gpus is None else gpus)
            return run_sweep_on_cluster(sweep, cells, folder, listener, spread, written, listener.say_more)

        try:
            failures = run()
        except KeyboardInterrupt:
            console.print_interrupted("the same command; finished work is not repeated")
            raise typer.Exit(130) from None
    elif sweep_suite(folder) is not chosen:
        raise UsageError(f"{folder} holds rows of the suite {sweep_suite(folder).name}.", "Name that suite.")
    write_tables(chosen, folder)
    rows = [row for row in read_rows(folder, chosen) if row.cell.seed in numbers]
    if only_tables:
        others = {row.cell.method for row in rows} if chosen.compares_kinds else set()
        compared = chosen.in_order({*chosen.methods, *others}) if named is None else named
    for table in sweep_tables(chosen, names, compared, rows, measured):
        print_table(listener, table)
    listener.say("-         means that there is no result yet; a mean needs the results of all its tasks.")
    listener.say(f"written   {folder / 'table.md'} and {folder / 'table.csv'}, from all results in that folder")
    listener.result(
        {
            "folder": str(folder),
            "rows": [
                {**row.cell.to_json(), "correct": row.correct, "total": row.total, "parameters": row.parameters}
                for row in rows
            ],
            "failures": [{**failure.cell.to_json(), "error": failure.problem} for failure in failures],
        }
    )
    for failure in failures:
        listener.say(f"failed    {failure.cell}: {failure.problem}")
    hints = list(dict.fromkeys(failure.hint for failure in failures if failure.hint))
    for hint in hints[:_NAMED_HINTS]:
        listener.say(f"hint      {hint}")
    if len(hints) > _NAMED_HINTS:
        listener.say(f"          and {len(hints) - _NAMED_HINTS} more like these")
    if failures:
        listener.say_next("type the same command to try the failed ones again")
        raise typer.Exit(1)


def write_tables(suite: Suite, folder: Path) -> None:
    """Write the tables of all results so far as Markdown and CSV."""
    from noah.benchmark.rows import read_rows
    from noah.benchmark.tables import found_in, sweep_tables, to_csv, to_markdown
    from noah.files.atomic import write_text

    rows = read_rows(folder, suite)
    write_text(folder / "table.md", to_markdown(sweep_tables(suite, *found_in(suite, rows), rows)))
    write_text(folder / "table.csv", to_csv(suite, rows))


def print_table(listener: console.ConsoleListener, table: Table) -> None:
    """Print a table, with the second lines of cells dimmed; one that is too wide comes in several, with fewer columns.

    Args:
        listener: Its console gives the width.
        table: The table.
    """
    tables = _narrow(listener, table)
    for number, part in enumerate(tables, start=1):
        which = f" ({number} of {len(tables)})" if len(tables) > 1 else ""
        listener.console.print(_draw(replace(part, title=part.title + which)))


def _narrow(listener: console.ConsoleListener, table: Table) -> list[Table]:
    """Split a table that is wider than the console; each part has the names of the lines and at least one column."""
    unbounded = listener.console.options.update(width=_UNBOUNDED)
    names = list(range(table.names))
    parts: list[Table] = []
    columns: list[int] = []
    for column in range(table.names, len(table.columns)):
        wider = _take(table, [*names, *columns, column])
        if columns and listener.console.measure(_draw(wider), options=unbounded).maximum > listener.console.width:
            parts.append(_take(table, names + columns))
            columns = []
        columns.append(column)
    return [*parts, _take(table, names + columns)]


def _take(table: Table, columns: list[int]) -> Table:
    return replace(
        table,
        columns=tuple(table.columns[column] for column in columns),
        lines=tuple(tuple(line[column] for column in columns) for line in table.lines),
    )


def _draw(table: Table) -> RichTable:
    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(table.columns):
        drawn.add_column(
            escape(_broken(column)), justify="right" if number else "left", no_wrap=not number, vertical="top"
        )
    for line in table.lines:
        shown = []
        for number, cell in enumerate(map(escape, line)):
            first, _, second = cell.partition("\n")
            shown.append(f"{first}\n[dim]{second}[/dim]" if second and number >= table.names else cell)
        drawn.add_row(*shown)
    return drawn


def _broken(heading: str) -> str:
    """Break a long heading into lines behind its underscores and plus signs."""
    lines = [""]
    for piece in re.split(r"(?<=[_+])", heading):
        if lines[-1] and len(lines[-1] + piece) > _WIDEST_HEADING:
            lines.append("")
        lines[-1] += piece
    return "\n".join(lines)
