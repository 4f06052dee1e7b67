"""What a test found: accuracy by class, confusions, calibration and the most confident mistakes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noah.calibration import Bin, reliability
from noah.mistakes import MISTAKES_FILE, Mistake, read_mistakes
from noah.predictions import FOLDER, read_predictions
from noah.runs import Run
from noah.significance import Proportion
from noah_cli.report.missing import Missing
from noah_cli.report.reading import well_formed

_TEST = "test.json"


@dataclass(frozen=True, slots=True)
class ClassResult:
    """One class.

    Args:
        name: Of the class.
        right: Of its images; None where the test has none of them.
    """

    name: str
    right: Proportion | None


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The test of the trained subnet.

    Args:
        right: Of all test images.
        top5: Share of images whose class is among the five likeliest; None where there are no more than five classes.
        cross_entropy: Mean over the images, in nats.
        calibration_error: Expected calibration error, 0..1.
        classes: In the order of the labels.
        confusion: Images of each true class (rows) by predicted class (columns), int64 (classes, classes).
        bins: Of the reliability diagram.
        mistakes: The most confident ones.
        elsewhere: Other data sets that it was measured on: name and share.
    """

    right: Proportion
    top5: float | None
    cross_entropy: float
    calibration_error: float
    classes: tuple[ClassResult, ...]
    confusion: NDArray[np.int64]
    bins: tuple[Bin, ...] | Missing
    mistakes: tuple[Mistake, ...] | Missing
    elsewhere: tuple[tuple[str, Proportion], ...]

    @property
    def confused_pairs(self) -> tuple[tuple[str, str, int], ...]:
        """True class, predicted class and number of images, the most frequent first."""
        wrong = self.confusion.copy()
        np.fill_diagonal(wrong, 0)
        order = np.argsort(-wrong, axis=None, kind="stable")
        rows, columns = np.unravel_index(order, wrong.shape)
        return tuple(
            (self.classes[row].name, self.classes[column].name, int(wrong[row, column]))
            for row, column in zip(rows[:10].tolist(), columns[:10].tolist(), strict=True)
            if wrong[row, column]
        )


def gather_tested(run: Run, classes: tuple[str, ...], commands: tuple[str, ...], again: str) -> Measured | Missing:
    """The test of a run.

    Args:
        run: The run.
        classes: Names of its classes.
        commands: What brings a test.
        again: The command that tests anew.

    Raises:
        RunError: A file is damaged.
    """
    if not run.path("eval", _TEST).is_file():
        return Missing("The test split has not been opened yet.", commands)
    with well_formed(run.path("eval", _TEST), "no result of a test"):
        result = run.read_json("eval", _TEST)
        confusion = np.array(result["confusion"], np.int64)
        if confusion.shape != (len(classes), len(classes)):
            raise ValueError(f"a confusion matrix of {confusion.shape}")
        images = confusion.sum(axis=1).tolist()
        right = np.diagonal(confusion).tolist()
        bins, mistakes = _by_image(run, len(classes), again)
        return Measured(
            right=read_share(result),
            top5=result.get("top5_accuracy"),
            cross_entropy=float(result["cross_entropy"]),
            calibration_error=float(result["calibration_error"]),
            classes=tuple(
                ClassResult(name, Proportion(correct, total) if total else None)
                for name, correct, total in zip(classes, right, images, strict=True)
            ),
            confusion=confusion,
            bins=bins,
            mistakes=mistakes,
            elsewhere=_elsewhere(run),
        )


def read_share(result: Mapping[str, Any]) -> Proportion:
    """The accuracy in the result of a test."""
    return Proportion(int(result["correct"]), int(result["total"]))


def _by_image(run: Run, classes: int, again: str) -> tuple[tuple[Bin, ...] | Missing, tuple[Mistake, ...] | Missing]:
    """The reliability diagram and the mistakes, which need what was kept of single images."""
    old = Missing("The test was made before confidences and pictures of single images were kept.", (again,))
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
    """The tests on other data sets (`noah eval --on`)."""
    found = []
    for path in sorted(run.path("eval", "on").glob("*.json")):
        with well_formed(path, "no result of a test"):
            found.append((path.stem, read_share(run.read_json("eval", "on", path.name))))
    return tuple(found)
