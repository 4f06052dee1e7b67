"""The results of a test: accuracy by class, confusions, calibration and the most confident mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noah.evaluation.reliability import Bin, reliability
from noah.evaluation.significance import Proportion
from noah.runs.folder import Run
from noah.runs.kept_predictions import FOLDER, read_predictions
from noah.runs.mistakes import MISTAKES_FILE, Mistake, read_mistakes
from noah_cli.report.reading import Missing, well_formed

_TEST = "test.json"


@dataclass(frozen=True, slots=True)
class ClassResult:
    """The test result of one class.

    Args:
        name: Name of the class.
        right: Share of its images that are right; None if the test has no images of it.
    """

    name: str
    right: Proportion | None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The test of the trained subnet.

    Args:
        right: Share of all test images that are right.
        top5: Share of images whose class is among the five most likely; None with five or fewer classes.
        cross_entropy: Mean over the images, in nats.
        calibration_error: Expected calibration error, 0..1; of the probabilities that `noah predict` tells.
        uncalibrated: The same without the run's temperature; None if it has none.
        classes: Results by class, in the order of the labels.
        confusions: True label, predicted label and number of images of all pairs that occur, sorted, int64 (m, 3).
        bins: Bins of the reliability diagram.
        mistakes: The most confident mistakes.
        elsewhere: Name and accuracy on each other dataset that it was measured on.
    """

    right: Proportion
    top5: float | None
    cross_entropy: float
    calibration_error: float
    uncalibrated: float | None
    classes: tuple[ClassResult, ...]
    confusions: NDArray[np.int64]
    bins: tuple[Bin, ...] | Missing
    mistakes: tuple[Mistake, ...] | Missing
    elsewhere: tuple[tuple[str, Proportion], ...]

    @property
    def confused_pairs(self) -> tuple[tuple[str, str, int], ...]:
        """True class, predicted class and number of images of each confusion, the most frequent first."""
        wrong = self.mistaken
        most = wrong[np.argsort(-wrong[:, 2], kind="stable")][:10].tolist()
        return tuple(
            (self.classes[true].name, self.classes[predicted].name, images) for true, predicted, images in most
        )

    @property
    def mistaken(self) -> NDArray[np.int64]:
        """The rows of `confusions` whose two labels differ, (m, 3)."""
        wrong: NDArray[np.int64] = self.confusions[self.confusions[:, 0] != self.confusions[:, 1]]
        return wrong


def gather_tested(run: Run, classes: tuple[str, ...], commands: tuple[str, ...], again: str) -> Measured | Missing:
    """Read the test of a run.

    Args:
        run: The run to read.
        classes: Names of its classes.
        commands: What to type for a first test.
        again: The command that repeats the test.

    Raises:
        RunError: If a file is damaged.
    """
    if not run.path("eval", _TEST).is_file():
        return Missing("The test split has not been opened yet.", commands)
    with well_formed(run.path("eval", _TEST), "no result of a test"):
        result = run.read_json("eval", _TEST)
        if "confusion" in result:  # the whole matrix
            return Missing("The test was made by an earlier version, which stored it in another way.", (again,))
        confusions = np.array(result["confusions"], np.int64)
        if confusions.ndim != 2 or confusions.shape[1] != 3 or confusions.min() < 0:
            raise ValueError("no confusions")
        if confusions[:, :2].max() >= len(classes):
            raise ValueError(f"labels beyond {len(classes)}")
        images, right = (
            np.bincount(some[:, 0], some[:, 2], len(classes)).astype(np.int64).tolist()
            for some in (confusions, confusions[confusions[:, 0] == confusions[:, 1]])
        )
        bins, mistakes = _by_image(run, len(classes), again)
        return Measured(
            right=read_share(result),
            top5=result.get("top5_accuracy"),
            cross_entropy=float(result["cross_entropy"]),
            calibration_error=float(result.get("calibrated", result)["calibration_error"]),
            uncalibrated=float(result["calibration_error"]) if "calibrated" in result else None,
            classes=tuple(
                ClassResult(name, Proportion(correct, total) if total else None)
                for name, correct, total in zip(classes, right, images, strict=True)
            ),
            confusions=confusions,
            bins=bins,
            mistakes=mistakes,
            elsewhere=_elsewhere(run),
        )


def read_share(result: Mapping[str, Any]) -> Proportion:
    """Read the accuracy in the result of a test."""
    return Proportion(int(result["correct"]), int(result["total"]))


def _by_image(run: Run, classes: int, again: str) -> tuple[tuple[Bin, ...] | Missing, tuple[Mistake, ...] | Missing]:
    """Read the reliability diagram and the mistakes, which need results for single images."""
    old = Missing("The test was made before confidences and pictures of single images were stored.", (again,))
    if not run.path("eval", FOLDER, _TEST).is_file():
        return old, old
    predictions = read_predictions(run, _TEST)
    bins = old if predictions.confidence is None else reliability(predictions.confidence, predictions.right)
    mistakes = read_mistakes(run, predictions.fingerprint)
    with well_formed(run.path("eval", MISTAKES_FILE), "mistakes of other classes"):
        if not all(0 <= label < classes for one in mistakes or () for label in (one.label, one.predicted)):
            raise ValueError(f"labels beyond {classes}")
    return bins, old if mistakes is None else mistakes


def _elsewhere(run: Run) -> tuple[tuple[str, Proportion], ...]:
    """Read the tests on other datasets (`noah eval --on`)."""
    found = []
    for path in sorted(run.path("eval", "on").glob("*.json")):
        with well_formed(path, "no result of a test"):
            found.append((path.stem, read_share(run.read_json("eval", "on", path.name))))
    return tuple(found)
