"""Several runs side by side: what each costs, how accurate it is, and whether it differs from the first.

Only files in the run folders are read; no image is opened and no weights are loaded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from noah.backbone.families.registry import sizes_of
from noah.backbone.outline import outlines
from noah.backbone.supported import untrained_backbone
from noah.cost.macs import backbone_macs, merged_macs
from noah.errors import RunError, UsageError
from noah.evaluation.significance import Proportion, holm, mcnemar
from noah.runs.folder import RUN_FILE, Run
from noah.runs.kept_predictions import FOLDER, KeptPredictions, read_predictions
from noah.runs.run_subnet import given_subnet, read_subnet
from noah.space.subnet import Subnet
from noah.training.checkpoint_file import CHECKPOINT_FILE

SEARCHED = "searched"
"""The method of a run whose subnet was not given."""
_TEST = "test.json"


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What a run still needs before it can be compared, and the command for it, without --run."""

    problem: str
    command: str


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What is known about one run; None stands for what is not known yet.

    Args:
        run: The run whose figures these are.
        method: The given subnet as it was typed, or "searched".
        architecture: timm's name for the backbone's architecture.
        image_size: Height and width of the input in pixels.
        num_classes: The number of outputs of the head.
        subnet: The subnet that was given or found.
        parameters: The subnet's trainable parameters; the head is not counted.
        relative_macs: Multiply-accumulates of the merged network, as a multiple of the plain backbone's.
        validation: The validation accuracy of the search's winner, with the supernet's weights.
        test: The test accuracy of the retrained subnet.
        predictions: The predictions for the test images.
        missing: What the run still needs before it can be compared, if anything.
    """

    run: Run
    method: str
    architecture: str
    image_size: tuple[int, int]
    num_classes: int
    subnet: Subnet | None
    parameters: int | None
    relative_macs: float | None
    validation: Proportion | None
    test: Proportion | None
    predictions: KeptPredictions | None
    missing: Unfinished | None


@dataclass(frozen=True, slots=True)
class Pair:
    """One run against the first, on the same test images.

    Args:
        figures: The run that is compared with the first.
        only_this: The number of images that only this run gets right.
        only_first: The number of images that only the first run gets right.
        total: The number of test images.
        p_value: The two-sided p-value of McNemar's exact test, corrected by Holm for the number of pairs.
    """

    figures: RunFigures
    only_this: int
    only_first: int
    total: int
    p_value: float

    @property
    def difference(self) -> float:
        """This run's accuracy minus that of the first, -1..1."""
        return (self.only_this - self.only_first) / self.total


def check_runs(runs: Sequence[Run]) -> None:
    """Refuse runs that cannot be compared.

    Raises:
        UsageError: If there are fewer than two runs, or one is named twice.
    """
    if len(runs) < 2:
        raise UsageError(
            "A comparison needs two runs or more.", "Type: noah compare RUN RUN, each as DATASET/ID or a path."
        )
    seen = set()
    for run in runs:
        folder = run.folder.resolve()
        if folder in seen:
            raise UsageError(f"The run {run.name} is named twice.", "Name each run once; latest is one of them too.")
        seen.add(folder)


def read_figures(run: Run) -> RunFigures:
    """Read the figures that the run folder holds.

    Raises:
        RunError: If a file in it is damaged.
        BackboneError: If the installed timm no longer knows the backbone.
    """
    description = run.description()
    try:
        architecture = str(description["backbone"]["architecture"])
        height, width = (int(side) for side in description["backbone"]["image_size"])
        classes = len(description["classes"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.path(RUN_FILE)} does not say which backbone and classes it has.", "Compare other runs."
        ) from error
    subnet, validation = given_subnet(run), None
    method = SEARCHED if subnet is None else str(description["given"].get("spelling", "given"))
    if subnet is None and run.path("search", "best.json").is_file():
        subnet, validation = read_subnet(run, "search", "best.json"), _read_share(run, "search", "best.json")
    parameters, relative_macs = None, None
    if subnet is not None:
        with outlines():
            backbone: Any = untrained_backbone(architecture, (height, width), classes)
        parameters = subnet.parameter_count(sizes_of(backbone))
        relative_macs = merged_macs(backbone, subnet, classes) / backbone_macs(backbone, classes)
    test = _read_share(run, "eval", _TEST) if run.path("eval", _TEST).is_file() else None
    predictions = read_predictions(run, _TEST) if test and run.path("eval", FOLDER, _TEST).is_file() else None
    return RunFigures(
        run=run,
        method=method,
        architecture=architecture,
        image_size=(height, width),
        num_classes=classes,
        subnet=subnet,
        parameters=parameters,
        relative_macs=relative_macs,
        validation=validation,
        test=test,
        predictions=predictions,
        missing=_find_missing(run, subnet, test, predictions),
    )


def pair_with_first(figures: Sequence[RunFigures]) -> tuple[list[Pair], list[RunFigures]]:
    """Compare each run with the first, image by image.

    Args:
        figures: The runs; those that still need something are skipped.

    Returns:
        The pairs, with p-values corrected for their number, and the runs that were tested on other images.
    """
    first, *others = figures
    ready = [other for other in others if other.missing is None]
    if first.missing is not None or first.predictions is None:
        return [], []
    counts, elsewhere = [], []
    for other in ready:
        assert other.predictions is not None
        if other.predictions.fingerprint != first.predictions.fingerprint:
            elsewhere.append(other)
            continue
        this, that = other.predictions.right, first.predictions.right
        counts.append((other, int((this & ~that).sum()), int((that & ~this).sum())))
    p_values = holm([mcnemar(only_this, only_first) for _, only_this, only_first in counts])
    total = len(first.predictions.labels)
    return [Pair(*count, total, p_value) for count, p_value in zip(counts, p_values, strict=True)], elsewhere


def _find_missing(
    run: Run, subnet: Subnet | None, test: Proportion | None, predictions: KeptPredictions | None
) -> Unfinished | None:
    if subnet is None:
        return Unfinished("its search has not finished", "noah search --resume")
    if not run.path("retrain", "model.json").is_file():
        started = run.path("retrain", CHECKPOINT_FILE).exists()
        return Unfinished("it has not been retrained", f"noah retrain{' --resume' if started else ''}")
    if test is None:
        return Unfinished("it has not been tested", "noah eval")
    if predictions is None:
        return Unfinished("it was tested before single predictions were kept", "noah eval --again")
    if (int(predictions.right.sum()), len(predictions.labels)) != (test.correct, test.total):
        return Unfinished("its predictions and its test result come from different tests", "noah eval --again")
    return None


def _read_share(run: Run, *parts: str) -> Proportion:
    """Read the accuracy from a JSON file of the run.

    Raises:
        RunError: If there is none.
    """
    try:
        value = run.read_json(*parts)
        return Proportion(int(value["correct"]), int(value["total"]))
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.path(*parts)} holds no accuracy.", "Remove it and repeat its stage.") from error
