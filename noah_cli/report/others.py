"""Other runs on the same dataset, and published figures, that a run can be compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from noah.benchmark.paper import PAPER_NAMES, paper_accuracy
from noah.checks.comparison import Pair, RunFigures, pair_with_first, read_figures
from noah.data.sources.vtab.vtab_tasks import find_vtab_task
from noah.errors import NoahError
from noah.evaluation.significance import Proportion
from noah.runs.folder import RUN_FILE, Run
from noah.runs.published_subnets import published_names
from noah.settings.layers import flatten
from noah_cli.report.asked import spell_value

_VTAB_IMAGES = (800, 200)
"""Training and validation images of a task of VTAB-1k."""
_OF_A_TRAINING = ("seed", "backbone.", "retrain.", "data.class_weights")
_PAPER_BACKBONE = "vit_base_patch16_224"


@dataclass(frozen=True, slots=True)
class Tried:
    """A run whose subnet was tested on the same images as this one's.

    Args:
        name: The run, as DATASET/ID.
        method: The given subnet as it was typed, or "searched".
        parameters: Trainable parameters without the head.
        relative_macs: Multiply-accumulates of its merged network relative to the plain backbone.
        test: Its test accuracy.
        difference: Its accuracy minus this run's, as a share; None for this run itself.
        p_value: McNemar's exact test of equal accuracy, corrected for the number of runs; None for this run itself.
        otherwise: Training settings that differ from this run's, such as "retrain.epochs 3".
    """

    name: str
    method: str
    parameters: int
    relative_macs: float
    test: Proportion
    difference: float | None = None
    p_value: float | None = None
    otherwise: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Others:
    """What a run can be compared with.

    Args:
        this: The run that the report is about.
        runs: Others that were tested on the same images, the most accurate first.
        elsewhere: Names of runs on the same dataset that were tested on other images.
        unready: Names of runs on the same dataset that have no test yet, or none image by image.
        unreadable: Name and problem of each run that cannot be read.
        paper: The paper's methods and their accuracies on this task; empty if it has no figures for it.
        paper_note: Why the paper's figures are not quite comparable, or why there are none.
    """

    this: Tried
    runs: tuple[Tried, ...]
    elsewhere: tuple[str, ...]
    unready: tuple[str, ...]
    unreadable: tuple[tuple[str, str], ...]
    paper: tuple[tuple[str, float], ...]
    paper_note: str


def gather_others(run: Run, description: Mapping[str, Any]) -> Others | None:
    """Compare a run with the others in the folder of its dataset; None if it has not been tested itself.

    Args:
        run: The run that the report is about.
        description: The content of its run.yaml.

    Raises:
        RunError: If a file of this run is damaged.
        BackboneError: If the installed timm no longer has the backbone.
    """
    figures = read_figures(run)
    if figures.missing is not None:
        return None
    siblings, unready, unreadable = [], [], []
    for folder in sorted(path.parent for path in run.folder.parent.glob(f"*/{RUN_FILE}")):
        other = Run(folder)
        if folder.resolve() == run.folder.resolve():
            continue
        if not other.path("eval", "test.json").is_file():
            unready.append(other.name)
            continue
        try:
            found = read_figures(other)
        except NoahError as error:  # a fault of another run does not spoil this report
            unreadable.append((other.name, error.problem))
            continue
        if found.missing is None:
            siblings.append(found)
        else:
            unready.append(other.name)
    pairs, elsewhere = pair_with_first([figures, *siblings])
    paper, note = _paper(description)
    return Others(
        this=_tried(figures),
        runs=tuple(sorted((_paired(pair, run) for pair in pairs), key=_by_accuracy)),
        elsewhere=tuple(other.run.name for other in elsewhere),
        unready=tuple(unready),
        unreadable=tuple(unreadable),
        paper=paper,
        paper_note=note,
    )


def _by_accuracy(tried: Tried) -> tuple[float, int, str]:
    return -tried.test.share, tried.parameters, tried.name


def _tried(figures: RunFigures) -> Tried:
    assert figures.test is not None and figures.parameters is not None and figures.relative_macs is not None
    return Tried(figures.run.name, figures.method, figures.parameters, figures.relative_macs, figures.test)


def _paired(pair: Pair, run: Run) -> Tried:
    tried, otherwise = _tried(pair.figures), _otherwise(run, pair.figures.run)
    return replace(tried, difference=pair.difference, p_value=pair.p_value, otherwise=otherwise)


def _otherwise(run: Run, other: Run) -> tuple[str, ...]:
    """List the training settings in which another run differs, with that run's values."""
    ours, theirs = (dict(flatten(one.description()["settings"])) for one in (run, other))
    return tuple(
        f"{key} {spell_value(value)}"
        for key, value in theirs.items()
        if key.startswith(_OF_A_TRAINING) and key in ours and ours[key] != value
    )


def _paper(description: Mapping[str, Any]) -> tuple[tuple[tuple[str, float], ...], str]:
    """Give the figures of the paper's Table 1 for the task, and a note on them."""
    name, images = str(description.get("dataset")), description.get("data", {})
    task = find_vtab_task(name)
    if task is None or task.name != name or (images.get("train"), images.get("validation")) != _VTAB_IMAGES:
        return (), f"The paper has no figures for {name}: its Table 1 is about the 19 tasks of VTAB-1k."
    figures = tuple((words, paper_accuracy(method, name)) for method, words in PAPER_NAMES.items())
    backbone = str(description.get("backbone", {}).get("name"))
    note = "Table 1 of the paper, for ViT-B/16 pre-trained on ImageNet-21k."
    if not backbone.startswith(_PAPER_BACKBONE):
        note += f" This run starts from {backbone}, so the two differ in more than the method."
    return figures, note


def published_name(description: Mapping[str, Any]) -> str:
    """Find the name under which the authors published a subnet for a run's dataset; empty if they did not.

    Args:
        description: The content of the run's run.yaml.
    """
    dataset, shots = str(description.get("dataset")), description["settings"]["data"].get("shots")
    task = find_vtab_task(dataset)
    name = f"{dataset.removesuffix(f'-{shots}shot')}:{shots}" if shots else (task.name if task else "")
    return name if name in published_names() else ""
