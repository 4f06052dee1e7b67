"""Charts of a test: confusions, accuracy by class, calibration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from noah.evaluation.reliability import BINS, Bin
from noah_cli.report.charts.drawing import (
    ACCENT,
    BAD,
    INK,
    LINE,
    MUTED,
    Drawing,
    count_axis_of_powers,
    draw,
    percent_axis,
    shorten,
)
from noah_cli.report.tested import ClassResult, Measured

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_IN_MATRIX, MOST_IN_ROW = 25, 40
"""The most classes that a confusion matrix and the chart of classes have room for."""


def draw_confusion(tested: Measured) -> Drawing:
    """Draw the confusion matrix of all classes, or of those with the most mistakes."""
    chosen = _hardest_to_tell(tested)
    names = [tested.classes[label].name for label in chosen]
    matrix = np.zeros((len(chosen), len(chosen)), np.int64)
    shown = tested.confusions[np.isin(tested.confusions[:, :2], chosen).all(axis=1)]
    matrix[np.searchsorted(chosen, shown[:, 0]), np.searchsorted(chosen, shown[:, 1])] = shown[:, 2]
    whole = len(chosen) == len(tested.classes)
    of = "all classes" if whole else f"the {len(chosen)} of {len(tested.classes):,} classes with the most mistakes"
    pairs = "; ".join(
        f"{count} of {true} mistaken for {predicted}" for true, predicted, count in tested.confused_pairs[:3]
    )
    return draw(
        "confusion",
        f"Confusion matrix of {of}",
        description=f"Most frequent confusions: {pairs or 'none'}.",
        caption="Rows are true classes and columns are predicted ones; each cell counts test images. Correct "
        "predictions are on the diagonal; mistakes are red.",
        height=max(3.4, min(5.2, 1.2 + 0.3 * len(chosen))),
        paint=lambda figure: _paint_confusion(figure, matrix, names),
    )


def draw_classes(tested: Measured) -> Drawing:
    """Draw the accuracy of each class with its interval, the hardest first."""
    measured = [one for one in tested.classes if one.right is not None]
    hardest = sorted(measured, key=_share)[:MOST_IN_ROW]
    of = "each class" if len(hardest) == len(tested.classes) else f"the {len(hardest)} hardest classes"
    named = ", ".join(f"{one.name} {_share(one):.1%}" for one in hardest[:3])
    return draw(
        "classes",
        f"Accuracy of {of}",
        description=f"Hardest: {named}.",
        caption="Bars are 95% confidence intervals (Wilson's score): with few test images, the accuracy of a class is "
        "uncertain. The dashed line is the accuracy over all images.",
        height=max(3.4, 1.2 + 0.24 * len(hardest)) if len(hardest) > 10 else 3.4,
        paint=lambda figure: _paint_classes(figure, hardest, tested.right.share),
    )


def draw_reliability(bins: tuple[Bin, ...], error: float) -> Drawing:
    """The reliability diagram.

    Args:
        bins: The bins that hold images.
        error: Expected calibration error, 0..1.
    """
    return draw(
        "reliability",
        "Reliability diagram",
        description=f"Expected calibration error {error:.1%}. "
        + " ".join(f"At confidence {one.confidence:.0%}, {one.right.share:.0%} are right." for one in bins),
        caption="Above, images are grouped by the network's confidence; on the diagonal, it is right as often as it "
        "claims. Bars are 95% confidence intervals. Below is the number of images in each group, on a logarithmic "
        "axis.",
        height=4.6,
        paint=lambda figure: _paint_reliability(figure, bins),
    )


def _hardest_to_tell(tested: Measured) -> NDArray[np.int64]:
    """Choose the labels that the matrix shows, in ascending order."""
    wrong, count = tested.mistaken, len(tested.classes)
    mistakes = np.bincount(wrong[:, 0], wrong[:, 2], count) + np.bincount(wrong[:, 1], wrong[:, 2], count)
    chosen: NDArray[np.int64] = np.sort(np.argsort(-mistakes, kind="stable")[:MOST_IN_MATRIX])
    return chosen


def _share(one: ClassResult) -> float:
    return one.right.share if one.right is not None else 1.0


def _paint_confusion(figure: Figure, matrix: NDArray[np.int64], names: list[str]) -> None:
    from matplotlib.patches import Rectangle

    axes = figure.add_subplot()
    count = len(names)
    wrong = matrix.copy()
    np.fill_diagonal(wrong, 0)
    largest, most_wrong = max(int(matrix.max()), 1), max(int(wrong.max()), 1)
    size = 9.5 if count <= 12 else 7 if count <= 20 else 5.5
    for row in range(count):
        for column in range(count):
            images = int(matrix[row, column])
            axes.add_patch(Rectangle((column, row), 1, 1, facecolor="none", edgecolor=LINE, linewidth=0.5))
            if not images:
                continue
            right = row == column
            opacity = 0.1 + 0.45 * images / largest if right else 0.15 + 0.45 * images / most_wrong
            axes.add_patch(
                Rectangle((column, row), 1, 1, facecolor=ACCENT if right else BAD, alpha=opacity, linewidth=0)
            )
            axes.text(column + 0.5, row + 0.5, f"{images}", ha="center", va="center", fontsize=size, color=INK)
    axes.set_xlim(0, count)
    axes.set_ylim(count, 0)
    axes.set_aspect("equal")
    axes.grid(False)
    labels = [shorten(name, 14) for name in names]
    upright = max(map(len, labels)) > 2
    axes.set_xticks(
        [place + 0.5 for place in range(count)], labels, rotation=90 if upright else 0, fontsize=max(size, 7)
    )
    axes.set_yticks([place + 0.5 for place in range(count)], labels, fontsize=max(size, 7))
    axes.tick_params(length=0)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    for spine in axes.spines.values():
        spine.set_visible(False)


def _paint_classes(figure: Figure, hardest: list[ClassResult], overall: float) -> None:
    axes = figure.add_subplot()
    for place, one in enumerate(hardest):
        assert one.right is not None  # classes without images were left out
        low, high = one.right.interval
        axes.plot([low, high], [place, place], color=ACCENT, linewidth=4, alpha=0.3, solid_capstyle="round")
        axes.plot([one.right.share], [place], "o", color=ACCENT, markersize=6)
    axes.axvline(overall, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(hardest)), [shorten(one.name) for one in hardest])
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(len(hardest) - 0.4, -0.6)
    lowest = min((one.right.interval[0] for one in hardest if one.right), default=0.0)
    axes.set_xlim(max(0.0, lowest - 0.02), 1.005)
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("test accuracy")
    percent_axis(axes, "x")


def _paint_reliability(figure: Figure, bins: tuple[Bin, ...]) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    above.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    confidence = [one.confidence for one in bins]
    share = [one.right.share for one in bins]
    intervals = [one.right.interval for one in bins]
    errors = [
        [s - low for s, (low, _) in zip(share, intervals, strict=True)],
        [high - s for s, (_, high) in zip(share, intervals, strict=True)],
    ]
    above.errorbar(confidence, share, errors, fmt="o", color=ACCENT, ecolor=ACCENT, elinewidth=1.2, capsize=2.5)
    above.set_ylabel("right")
    above.set_ylim(-0.03, 1.05)
    percent_axis(above, "y")
    below.bar(
        [(one.low + one.high) / 2 for one in bins],
        [one.right.total for one in bins],
        width=0.86 / BINS,
        color=ACCENT,
        alpha=0.55,
    )
    below.set_yscale("log")
    below.set_ylim(0.6, 2.5 * max(one.right.total for one in bins))
    below.set_ylabel("images")
    below.set_xlabel("confidence")
    below.set_xlim(-0.02, 1.02)
    count_axis_of_powers(below, "y")
    percent_axis(below, "x")
