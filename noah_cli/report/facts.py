"""Everything that the report says about a run, read from its folder; nothing is written and no image is opened."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noah.checks.comparison import read_figures
from noah.errors import BackboneError
from noah.files.latest import DEFAULT_RUNS
from noah.runs.folder import RUN_FILE, Run
from noah.runs.published_subnets import published_subnet
from noah.runs.run_subnet import given_subnet
from noah.space.subnet import Subnet
from noah_cli.options.options import run_options
from noah_cli.report.artifacts import Exported, gather_exported
from noah_cli.report.asked import Asked, gather_asked
from noah_cli.report.others import Others, gather_others, published_name
from noah_cli.report.reading import Missing, well_formed
from noah_cli.report.repeat import SETTINGS_FILE, Repeat, gather_repeat
from noah_cli.report.searched import Searched, gather_searched
from noah_cli.report.stages import Stage, gather_stages
from noah_cli.report.tested import Measured, gather_tested
from noah_cli.report.trained import Training, gather_retrained, gather_supernet

_ALONE = ("lora:8", "adapter:8", "prompt:10", "linear")
"""Single modules, and none at all, that a searched subnet should be compared with."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What a run was computed with.

    Args:
        versions: Versions of packages at the start of the run.
        machine: The system and its processor cores, in words.
        choices: Setting, value and reason of every automatic choice.
        trained_on: Device, precision and threads of the final training, in words; empty before it.
    """

    versions: Mapping[str, str]
    machine: str
    choices: tuple[tuple[str, str, str], ...]
    trained_on: str


@dataclass(frozen=True, slots=True)
class Facts:
    """What the report says.

    Args:
        name: The run, as DATASET/ID.
        folder: The run folder.
        run_options: Options with which a command finds the run.
        created: Date and time of its start, ISO 8601 in UTC.
        noah: The version of noah that started it.
        dataset: Name of the dataset.
        classes: Names of its classes.
        images: Number of images in each split.
        notes: Remarks that noah made about the data.
        backbone: The source of the backbone's weights.
        image_size: Height and width of the input in pixels.
        seed: The run's seed.
        given: The subnet as it was typed; empty for a run that searches.
        subnet: The given or winning subnet; missing while the search goes on.
        parameters: Its trainable parameters without the head; None if not known yet.
        head_parameters: Parameters of the head; None if not known yet.
        relative_macs: Multiply-accumulates of its merged network relative to the plain backbone; or why not known.
        next_command: What to type next; empty if nothing is left to do.
        stages: The stages from search to speed measurement.
        asked: The settings.
        supernet: The training of the supernet.
        searched: The search.
        retrained: The training of the subnet on its own.
        tested: The test.
        others: Runs and published figures to compare with.
        alone_commands: Commands that train and test single modules on the same data, for comparison.
        exported: The artifacts.
        environment: Versions, machine and automatic choices.
        repeat: How to repeat the run.
    """

    name: str
    folder: Path
    run_options: str
    created: str
    noah: str
    dataset: str
    classes: tuple[str, ...]
    images: Mapping[str, int]
    notes: tuple[str, ...]
    backbone: str
    image_size: tuple[int, int]
    seed: int
    given: str
    subnet: Subnet | Missing
    parameters: int | None
    head_parameters: int | None
    relative_macs: float | Missing | None
    next_command: str
    stages: tuple[Stage, ...]
    asked: Asked
    supernet: Training | Missing
    searched: Searched | Missing
    retrained: Training | Missing
    tested: Measured | Missing
    others: Others | Missing
    alone_commands: tuple[str, ...]
    exported: Exported | Missing
    environment: Environment
    repeat: Repeat


def gather_facts(run: Run, runs: Path) -> Facts:
    """Read a run folder.

    Args:
        run: The run, at any stage.
        runs: The folder of all runs, as given.

    Raises:
        RunError: If a file of the run is damaged; names it and what to do.
    """
    description = run.description()
    path = run.path(RUN_FILE)
    name = run_options(run.folder, runs, always=True)
    beside = runs if runs / run.name == run.folder else run.folder.parent.parent
    resume, retrain = f"noah search --resume{name}", f"noah retrain{name}"
    test, export = f"noah eval{name}", f"noah export --format onnx{name}"
    with well_formed(path, "no dataset, classes and backbone"):
        classes = tuple(map(str, description["classes"]))
        images = {split: int(description["data"][split]) for split in ("train", "validation")}
        height, width = map(int, description["backbone"]["image_size"])
        dataset, backbone = str(description["dataset"]), str(description["backbone"]["source"])
    given = given_subnet(run)
    nothing = Missing("The subnet of this run was given: nothing was searched.")
    supernet = gather_supernet(run, description, resume) if given is None else nothing
    searched = gather_searched(run, description, resume) if given is None else nothing
    subnet: Subnet | Missing = Missing("The search has not chosen a subnet yet.", (resume,))
    if given is not None:
        subnet = given
    elif isinstance(searched, Searched) and searched.winner is not None:
        subnet = searched.winner.candidate.subnet
    go_on = f"noah retrain --resume{name}"
    to_choose = subnet.commands if isinstance(subnet, Missing) else ()
    retrained = gather_retrained(run, description, (*to_choose, retrain if given is None else go_on))
    before: tuple[str, ...] = ()
    if isinstance(retrained, Missing):
        before = retrained.commands
    elif not retrained.finished:
        before = (go_on,)
    tested = gather_tested(run, classes, (*before, test), f"noah eval --again{name}")
    exported = gather_exported(run, (*before, export))
    parameters, head = _parameters(run, searched)
    stages = gather_stages(supernet, searched, retrained, tested, exported, given is not None)
    commands = {"search": resume, "retrain": retrain, "test": test, "export": export}
    return Facts(
        name=run.name,
        folder=run.folder,
        run_options=name,
        created=str(description.get("created", "")),
        noah=str(description.get("noah", "")),
        dataset=dataset,
        classes=classes,
        images=images,
        notes=tuple(map(str, description.get("notes", ()))),
        backbone=backbone,
        image_size=(height, width),
        seed=int(description["settings"]["seed"]),
        given="" if given is None else str(description["given"].get("spelling", "given")),
        subnet=subnet,
        parameters=parameters,
        head_parameters=head,
        relative_macs=None if isinstance(subnet, Missing) else _relative_macs(run),
        next_command=_next(commands, subnet, retrained, tested, exported),
        stages=stages,
        asked=gather_asked(run, description, searches=given is None),
        supernet=supernet,
        searched=searched,
        retrained=retrained,
        tested=tested,
        others=_others(run, description, (*before, test), tested),
        alone_commands=_alone(description, subnet, name, runs),
        exported=exported,
        environment=_environment(run, description),
        repeat=gather_repeat(run, description, exported, str(run.path("report", SETTINGS_FILE)), beside),
    )


def _parameters(run: Run, searched: Searched | Missing) -> tuple[int | None, int | None]:
    """Give the trainable parameters of the subnet and of the head, as far as they are known."""
    if run.path("retrain", "model.json").is_file():
        with well_formed(run.path("retrain", "model.json"), "no number of parameters"):
            model = run.read_json("retrain", "model.json")
            return int(model["parameters"]), int(model["head_parameters"])
    if isinstance(searched, Searched) and searched.winner is not None:
        return searched.winner.candidate.parameters, None
    return None, None


def _relative_macs(run: Run) -> float | Missing | None:
    try:
        return read_figures(run).relative_macs
    except BackboneError as error:
        return Missing(error.problem)


def _next(
    commands: Mapping[str, str],
    subnet: Subnet | Missing,
    retrained: Training | Missing,
    tested: Measured | Missing,
    exported: Exported | Missing,
) -> str:
    """Choose the command to type next; empty if nothing is left to do."""
    if isinstance(subnet, Missing):
        return commands["search"]
    if isinstance(retrained, Missing):
        return retrained.commands[0]
    if not retrained.finished:
        return commands["retrain"].replace("noah retrain", "noah retrain --resume", 1)
    if isinstance(tested, Missing):
        return commands["test"]
    if isinstance(exported, Missing):
        return commands["export"]
    return exported.bench.commands[0] if isinstance(exported.bench, Missing) and exported.bench.commands else ""


def _others(
    run: Run, description: Mapping[str, Any], commands: tuple[str, ...], tested: Measured | Missing
) -> Others | Missing:
    if isinstance(tested, Missing):
        return Missing("Runs are compared by their tests, but this one has not been tested.", commands)
    try:
        others = gather_others(run, description)
    except BackboneError as error:
        return Missing(error.problem)
    if others is None:
        return Missing("The predictions of the test do not belong to its result.", (f"{commands[-1]} --again",))
    return others


def _alone(description: Mapping[str, Any], subnet: Subnet | Missing, name: str, runs: Path) -> tuple[str, ...]:
    """Give commands that train and test single modules, and any published subnet, with this run's settings."""
    published = published_name(description)
    fits = bool(published) and isinstance(subnet, Subnet) and subnet.depth == published_subnet(published).depth
    spellings = [*_ALONE, f"published:{published}"] if fits else _ALONE
    test = "noah eval" if runs == DEFAULT_RUNS else f"noah eval --runs {shlex.quote(str(runs))}"
    return tuple(f"noah retrain --subnet {spelling}{name} && {test}" for spelling in spellings)


def _environment(run: Run, description: Mapping[str, Any]) -> Environment:
    machine = description.get("machine", {})
    trained_on = ""
    if run.path("retrain", "model.json").is_file():
        hardware = run.read_json("retrain", "model.json").get("hardware", {})
        trained_on = ", ".join(f"{key} {value}" for key, value in hardware.items())
    return Environment(
        versions={str(package): str(version) for package, version in description.get("versions", {}).items()},
        machine=f"{machine.get('system', 'unknown system')}, {machine.get('cores', '?')} cores",
        choices=tuple((told["what"], told["value"], told["reason"]) for told in description.get("choices", ())),
        trained_on=trained_on,
    )
