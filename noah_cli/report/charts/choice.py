"""The chart of how an artifact was chosen: speed over accuracy, with every candidate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.artifact.records import CandidateRecord, ChoiceRecord
from noah_cli.report.charts.drawing import ACCENT, BAD, INK, MUTED, Drawing, draw, percent_axis, shorten

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_choice(name: str, choice: ChoiceRecord) -> Drawing:
    """Draw speed over accuracy for every candidate that was timed; those that were not are named beside it.

    Args:
        name: The artifact that was chosen.
        choice: How it was.
    """
    timed = [one for one in choice.candidates if one.times_as_fast is not None]
    refused = [one for one in choice.candidates if one.refused is not None]
    said = "; ".join(f"{one.name} {_ratio(one):.2f} times as fast, {_accuracy(one, choice):.1%} right" for one in timed)
    left_out = f" Not timed: {', '.join(one.name for one in refused)}." if refused else ""
    measured = [one for one in refused if one.correct is not None]
    return draw(
        f"choice-{name}",
        f"Speed over accuracy of what {name} was chosen from",
        description=f"{said}.{left_out}",
        caption="Each point is a candidate: how many times as fast as the plain backbone (median and quartiles over "
        "the rounds in which all ran in turn), over its accuracy on images for the check. The star is what was chosen; "
        "the line is the accuracy in float32, and a cross left of the dotted line lost too much to be "
        f"timed.{left_out}",
        height=max(3.2, 1.8 + 0.24 * len(timed)),
        paint=lambda figure: _paint(figure, name, choice, timed, measured),
        wide=True,
    )


def _ratio(one: CandidateRecord) -> float:
    return one.times_as_fast[1] if one.times_as_fast is not None else 0.0


def _accuracy(one: CandidateRecord, choice: ChoiceRecord) -> float:
    return (one.correct or 0) / choice.total


def _paint(
    figure: Figure, name: str, choice: ChoiceRecord, timed: list[CandidateRecord], measured: list[CandidateRecord]
) -> None:
    axes = figure.add_subplot()
    in_float32 = choice.correct_in_float32 / choice.total
    lowest_allowed = in_float32 - choice.lose_at_most / 100
    axes.axvline(in_float32, color=MUTED, linewidth=1)
    axes.axvline(lowest_allowed, color=BAD, linewidth=1, linestyle=(0, (1, 2)))
    axes.axhline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    # Candidates of one accuracy stand above one another: labels go to the right of some, to the left of others.
    for place, one in enumerate(sorted(timed, key=_ratio)):
        low, middle, high = one.times_as_fast or (0.0, 0.0, 0.0)
        chosen = one is choice.chosen
        axes.errorbar(
            [_accuracy(one, choice)],
            [middle],
            [[middle - low], [high - middle]],
            fmt="*" if chosen else "o",
            markersize=13 if chosen else 6.5,
            color=INK if chosen else ACCENT,
            capsize=3,
            elinewidth=1.2,
        )
        axes.annotate(
            shorten(one.name, 28),
            (_accuracy(one, choice), middle),
            textcoords="offset points",
            xytext=(9 if place % 2 == 0 else -9, -3),
            ha="left" if place % 2 == 0 else "right",
            fontsize=8.5,
            fontweight="bold" if chosen else "normal",
        )
    for one in measured:
        axes.plot([_accuracy(one, choice)], [0], "x", color=BAD, markersize=8, clip_on=False)
        at = (_accuracy(one, choice), 0.0)
        axes.annotate(shorten(one.name, 28), at, textcoords="offset points", xytext=(8, 5), fontsize=8.5, color=BAD)
    values = [in_float32, lowest_allowed, *(_accuracy(one, choice) for one in (*timed, *measured))]
    margin = max(0.004, 0.35 * (max(values) - min(values)))
    axes.set_xlim(min(values) - margin, max(values) + margin)
    axes.set_ylim(0, 1.1 * max(1.0, *(one.times_as_fast[2] for one in timed if one.times_as_fast)))
    axes.set_xlabel("accuracy on images for the check")
    axes.set_ylabel("times as fast")
    percent_axis(axes, "x", digits=1)
