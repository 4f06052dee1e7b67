"""`noah benchmark`: methods over tasks and seeds, each result kept as it comes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.markup import escape
from rich.table import Table as RichTable

from noah.layers import assignment_layer, file_layer, recipe_layer
from noah_cli import console
from noah_cli.new_run import project_layers
from noah_cli.options import (
    BackboneOption,
    ConfigOption,
    DataRootOption,
    DeviceOption,
    PrecisionOption,
    RecipeOption,
    SetOption,
    ThreadsOption,
    hardware_layers,
    option_layers,
)

if TYPE_CHECKING:  # It brings torch, which takes seconds.
    from noah.benchmark.rows import Row
    from noah.benchmark.tables import Table


def benchmark(
    suite: Annotated[
        Literal["vtab", "pocket"],
        typer.Argument(help="vtab: the 19 tasks of VTAB-1k. pocket: four small tasks that need no download."),
    ],
    tasks: Annotated[
        str | None, typer.Option("--tasks", help="Some of the tasks, with commas. [default: all]", metavar="NAMES")
    ] = None,
    methods: Annotated[
        str | None,
        typer.Option(
            "--methods",
            help="With commas: noah searches a subnet, published takes the paper's, linear, lora:8, adapter:8, "
            "prompt:50 and the like train one module alone.",
            metavar="NAMES",
        ),
    ] = None,
    seeds: Annotated[str, typer.Option("--seeds", help="Seeds, with commas.", metavar="NUMBERS")] = "0,1,2",
    shard: Annotated[
        str, typer.Option("--shard", help="2/8: the second of eight shares, for several machines.", metavar="I/N")
    ] = "1/1",
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the results. [default: benchmarks/SUITE]", metavar="FOLDER"),
    ] = None,
    only_tables: Annotated[
        bool, typer.Option("--only-tables", help="Show the tables of what is there; train nothing.")
    ] = False,
    backbone: BackboneOption = None,
    recipe: RecipeOption = None,
    data_root: DataRootOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
) -> None:
    """Compare methods on many tasks and seeds; stopped or repeated, it goes on with what is missing."""
    from noah.benchmark.cells import parse_methods, parse_seeds, parse_shard, plan_cells, take_shard
    from noah.benchmark.rows import read_rows
    from noah.benchmark.suites import SUITES
    from noah.benchmark.sweep import run_sweep

    listener = console.ConsoleListener()
    chosen = SUITES[suite]
    names = tuple(task.name for task in chosen.choose(tasks))
    compared = parse_methods(methods) if methods else chosen.methods
    folder = out or Path("benchmarks") / suite
    cells = take_shard(plan_cells(names, compared, parse_seeds(seeds)), *parse_shard(shard))

    def show(rows: list[Row]) -> list[Table]:
        return write_tables(suite, names, compared, rows, folder)

    failures = []
    if not only_tables:
        layers = [recipe_layer(recipe or chosen.recipe), *project_layers(), *(file_layer(p) for p in config or [])]
        layers += option_layers(
            backbone=("backbone.name", backbone), data_root=("data.root", str(data_root) if data_root else None)
        )
        layers += [
            *(assignment_layer(text) for text in assignments or []),
            *hardware_layers(device, precision, threads),
        ]
        done = sum((folder / "rows" / f"{cell.file_name}.json").exists() for cell in cells)
        listener.say(
            f"sweep     {len(cells)} cells ({len(names)} tasks, {len(compared)} methods, seeds {seeds}"
            f"{'' if shard == '1/1' else f', share {shard}'}); {done} are done already"
        )
        listener.say(f"recipe    {recipe or chosen.recipe}{'' if recipe else ' (the suite names it)'}")
        listener.say(f"results   {folder}")
        try:
            failures = run_sweep(chosen, cells, layers, folder, listener, lambda: show(read_rows(folder)))
        except KeyboardInterrupt:
            console.print_interrupted("the same command; what is finished is not done again")
            raise typer.Exit(130) from None
    rows = read_rows(folder)
    for table in show(rows):
        print_table(listener, table)
    listener.say("-         stands where there is no result yet; a mean waits for all of its tasks.")
    listener.say(f"written   {folder / 'table.md'} and {folder / 'table.csv'}")
    for failure in failures:
        listener.say(f"failed    {failure.cell}: {failure.problem}")
    if failures:
        listener.say_next("the same command tries what failed again")
        raise typer.Exit(1)


def write_tables(
    suite: str, tasks: tuple[str, ...], methods: tuple[str, ...], rows: list[Row], folder: Path
) -> list[Table]:
    """Make the tables of the results so far and write them as Markdown and CSV."""
    from noah.atomic import write_text
    from noah.benchmark.suites import SUITES
    from noah.benchmark.tables import sweep_tables, to_csv, to_markdown

    tables = sweep_tables(SUITES[suite], tasks, methods, rows)
    write_text(folder / "table.md", to_markdown(tables))
    write_text(folder / "table.csv", to_csv(SUITES[suite], rows))
    return tables


def print_table(listener: console.ConsoleListener, table: Table) -> None:
    """Print a table; second lines of cells are dim."""
    drawn = RichTable(title=table.title, title_justify="left", box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    for number, column in enumerate(table.columns):
        drawn.add_column(column, justify="right" if number else "left", no_wrap=not number)
    for line in table.lines:
        cells = (cell.partition("\n") for cell in map(escape, line))
        drawn.add_row(*(f"{first}\n[dim]{second}[/dim]" if second else first for first, _, second in cells))
    listener.console.print(drawn)
