"""Charts that compare a run with others: accuracy over parameters, and speed against the plain backbone."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from noah.space.kinds import GROUPS, KINDS
from noah_cli.report.artifacts import Bench
from noah_cli.report.charts.drawing import (
    ACCENT,
    INK,
    MUTED,
    Drawing,
    count_axis,
    draw,
    module_color,
    percent_axis,
    shorten,
)
from noah_cli.report.others import Others, Tried

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_others(others: Others) -> Drawing:
    """Draw test accuracy over parameters for this run and others, with the paper's accuracies as lines."""
    tried = [others.this, *others.runs]
    found = "; ".join(f"{one.method} {one.test.share:.1%} with {one.parameters:,} parameters" for one in tried)
    paper = " Lines are the accuracies that the paper reports." if others.paper else ""
    return draw(
        "comparison",
        "Test accuracy over trainable parameters, for this run and others",
        description=f"{found}.{paper}",
        caption="Each point is a run that was trained on its own and tested on the same images; bars are 95% "
        f"confidence intervals (Wilson's score).{paper}",
        height=4.0,
        paint=lambda figure: _paint_others(figure, others, tried),
        wide=True,
    )


def draw_speed(bench: Bench) -> Drawing:
    """Draw how many times as fast each artifact is as its reference."""
    compared = {name: speeds for name, speeds in bench.speeds.items() if speeds[0].ratio is not None}
    said = "; ".join(
        f"{name}: " + ", ".join(f"{s.ratio[1]:.2f} at batch {s.batch}" for s in speeds if s.ratio)
        for name, speeds in compared.items()
    )
    reference = " or ".join(bench.compared_with)
    return draw(
        "speed",
        f"Speed compared with the {reference}",
        description=f"Times as fast as the {reference}: {said}.",
        caption=f"How many times as fast as the {reference} (the dashed line at 1): the median of rounds in which both "
        "ran in turn, with quartiles. Only the model is timed, without decoding images.",
        height=max(2.4, 1.2 + 0.32 * sum(map(len, compared.values()))),
        paint=lambda figure: _paint_speed(figure, bench),
        wide=True,
    )


def _paint_others(figure: Figure, others: Others, tried: list[Tried]) -> None:
    axes = figure.add_subplot()
    for one in tried:
        low, high = one.test.interval
        this = one is others.this
        color = INK if this else _method_color(one.method)
        axes.errorbar(
            [one.parameters],
            [one.test.share],
            [[one.test.share - low], [high - one.test.share]],
            fmt="*" if this else "o",
            markersize=13 if this else 6.5,
            color=color,
            capsize=3,
            elinewidth=1.2,
        )
        axes.annotate(
            f"{one.method}, this run" if this else shorten(one.method),
            (one.parameters, one.test.share),
            textcoords="offset points",
            xytext=(8, -4 if this else 4),
            fontsize=9,
            fontweight="bold" if this else "normal",
        )
    largest = max(one.parameters for one in tried) or 1
    for name, accuracy in others.paper:
        axes.axhline(accuracy, color=MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.text(largest * 1.24, accuracy, f"paper: {name}", fontsize=8, color=MUTED, ha="right", va="bottom")
    axes.set_xlim(-0.06 * largest, 1.25 * largest)
    axes.margins(y=0.12)
    axes.set_xlabel("trainable parameters, head not counted")
    axes.set_ylabel("test accuracy")
    count_axis(axes, "x")
    percent_axis(axes, "y", digits=1)


def _paint_speed(figure: Figure, bench: Bench) -> None:
    axes = figure.add_subplot()
    labels, place = [], 0
    for name, speeds in bench.speeds.items():
        for speed in speeds:
            if speed.ratio is None:
                continue
            low, median, high = speed.ratio
            axes.barh(place, median, height=0.62, color=ACCENT, alpha=0.5)
            axes.plot([low, high], [place, place], color=INK, linewidth=1.4)
            axes.text(0.015, place, f"{median:.2f}x", va="center", fontsize=9, fontweight="bold")
            labels.append(f"{shorten(name)}, batch {speed.batch}")
            place += 1
    axes.axvline(1, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(place), labels)
    axes.tick_params(axis="y", length=0, labelcolor=INK)
    axes.set_ylim(place - 0.4, -0.6)
    fastest = max(speed.ratio[2] for speeds in bench.speeds.values() for speed in speeds if speed.ratio)
    axes.set_xlim(0, 1.08 * max(fastest, 1.0))
    axes.grid(axis="y", visible=False)
    axes.set_xlabel("times as fast")


def _method_color(method: str) -> str:
    """The color of the first kind of module in a method's name, such as lora_all:8; a search has one of its own."""
    word = re.split("[:+]", method)[0].strip().lower()
    kind = GROUPS.get(word, (word,))[0]
    return module_color(kind) if kind in KINDS else MUTED if method == "linear" else ACCENT
