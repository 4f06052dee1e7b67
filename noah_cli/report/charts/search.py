"""Charts of the subnets that a search evaluated, in order of evaluation and by parameters."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah.nas.candidate import Candidate
from noah.nas.evolution import EVEN, SINGLE, TYPICAL
from noah_cli.report.charts.drawing import (
    ACCENT,
    ADAPTER,
    INK,
    LINE,
    MUTED,
    PROMPT,
    Drawing,
    count_axis,
    draw,
    module_color,
    percent_axis,
)
from noah_cli.report.searched import Searched, best_so_far, largest_possible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_ORIGINS = {
    "random": MUTED,
    SINGLE: module_color("bias"),
    EVEN: module_color("lora_proj"),
    "mutation": ACCENT,
    "crossover": ADAPTER,
}
"""The color for each origin of a candidate; those from Optuna's samplers look like mutations."""
_GIVEN_UP = "given up, at most"


def draw_progress(searched: Searched) -> Drawing:
    """Draw each candidate's accuracy and the number of images that it was shown."""
    best = searched.winner.candidate if searched.winner else None
    chosen = f" The winner is subnet {best.index} with {best.score.accuracy:.1%}." if best else ""
    racing = (
        f" {searched.given_up:,} {'was' if searched.given_up == 1 else 'were'} given up early."
        if searched.given_up
        else " None was given up early."
    )
    caption = (
        "Above, each dot is a subnet, measured with the supernet's weights on the validation images; the line is the "
        "best so far. "
    )
    if searched.given_up:
        caption += "A triangle is one that was given up: it is the highest accuracy that it could have reached. "
    return draw(
        "search",
        "Accuracy of each evaluation, and the images that it took",
        description=f"{len(searched.candidates):,} subnets were evaluated.{chosen}{racing}",
        caption=f"{caption}Below is the number of images that each was shown, of {searched.images:,}. Thin vertical "
        "lines separate the generations.",
        height=4.6,
        paint=lambda figure: _paint_progress(figure, searched),
        wide=True,
    )


def draw_front(searched: Searched) -> Drawing:
    """Draw accuracy over parameters for every candidate that was shown all images, with the Pareto front."""
    most, least = searched.front[0], searched.front[-1]
    return draw(
        "front",
        "Accuracy over trainable parameters of the candidates",
        description=f"The Pareto front has {len(searched.front)} subnets, from {least.score.accuracy:.1%} with "
        f"{least.parameters:,} parameters to {most.score.accuracy:.1%} with {most.parameters:,}.",
        caption="Each dot is a subnet that was shown every validation image, measured with the supernet's weights; "
        "those that were given up are left out. The line is the Pareto front: no other subnet is both more accurate "
        "and smaller. The bar at the winner is its 95% confidence interval; that of every other dot is about as long.",
        height=3.5,
        paint=lambda figure: _paint_front(figure, searched),
    )


def _paint_progress(figure: Figure, searched: Searched) -> None:
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(2.5, 1))
    _paint_accuracy(above, searched)
    numbers = [candidate.index for candidate in searched.candidates]
    shown = [candidate.score.total for candidate in searched.candidates]
    below.vlines(numbers, 0, shown, color=ACCENT, linewidth=max(0.6, min(5.0, 400 / len(shown))), alpha=0.55)
    below.axhline(searched.images, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    below.set_ylim(0, searched.images * 1.12)
    below.set_ylabel("images")
    below.set_xlabel("subnet, in the order of evaluation")
    count_axis(below, "x")
    for axes in (above, below):
        axes.grid(axis="x", visible=False)
        for number in _generation_starts(searched):
            axes.axvline(number - 0.5, color=LINE, linewidth=0.8, zorder=0)
    above.set_xlim(numbers[0] - 0.75, numbers[-1] + 0.75)


def _paint_accuracy(axes: Axes, searched: Searched) -> None:
    candidates = searched.candidates
    size = 26 if len(candidates) <= 150 else 12
    named = [(_origin(candidate), candidate) for candidate in candidates]
    for origin in dict.fromkeys(name for name, _ in named):
        points = [(c.index, c.score.accuracy) for name, c in named if name == origin and c.outcome.complete]
        if points:
            color = _ORIGINS.get(origin, ACCENT)
            xs, ys = zip(*points, strict=True)
            axes.scatter(xs, ys, s=size, color=color, alpha=0.75, linewidth=0, label=origin)
    lost = [(c.index, largest_possible(c, searched.images)) for c in candidates if c.lost]
    if lost:
        xs, ys = zip(*lost, strict=True)
        axes.scatter(xs, ys, s=size, marker="v", facecolor="none", edgecolor=MUTED, linewidth=0.9, label=_GIVEN_UP)
    best = best_so_far(searched)
    axes.step(
        [candidate.index for candidate in candidates],
        best,
        where="post",
        color=PROMPT,
        linewidth=1.8,
        label="best so far",
    )
    if searched.winner:
        winner = searched.winner.candidate
        place = ([winner.index], [winner.score.accuracy])
        axes.scatter(*place, s=150, facecolor="none", edgecolor=INK, linewidth=1.4, label="winner")
    axes.set_ylabel("validation accuracy")
    percent_axis(axes, "y")
    figure = axes.figure
    figure.legend(loc="outside upper left", ncols=6, handletextpad=0.3, columnspacing=1.4)


def _origin(candidate: Candidate) -> str:
    """The origin as the legend names it."""
    return "random" if candidate.origin == TYPICAL else candidate.origin


def _paint_front(figure: Figure, searched: Searched) -> None:
    axes = figure.add_subplot()
    complete = [candidate for candidate in searched.candidates if candidate.outcome.complete]
    on_front = {candidate.index for candidate in searched.front}
    _scatter(axes, [c for c in complete if c.index not in on_front], MUTED, 0.5, "candidate")
    steps = sorted(searched.front, key=lambda candidate: candidate.parameters)
    xs, ys = [c.parameters for c in steps], [c.score.accuracy for c in steps]
    axes.step(xs, ys, where="post", color=ACCENT, linewidth=1.6, label="Pareto front")
    _scatter(axes, steps, ACCENT, 1.0, None)
    if searched.winner:
        winner = searched.winner
        low, high = winner.validation.interval
        share, x = winner.validation.share, winner.candidate.parameters
        axes.errorbar(
            [x],
            [share],
            [[share - low], [high - share]],
            fmt="*",
            markersize=13,
            color=PROMPT,
            capsize=3,
            label="winner",
        )
    if searched.parameter_limit:
        axes.axvline(searched.parameter_limit, color=INK, linewidth=1, linestyle=(0, (4, 3)), label="budget")
    axes.set_xlabel("trainable parameters, head not counted")
    axes.set_ylabel("validation accuracy")
    percent_axis(axes, "y")
    count_axis(axes, "x")
    figure.legend(loc="outside upper left", ncols=4, handletextpad=0.4, columnspacing=1.2)


def _scatter(axes: Axes, candidates: list[Candidate], color: str, alpha: float, label: str | None) -> None:
    xs, ys = [c.parameters for c in candidates], [c.score.accuracy for c in candidates]
    axes.scatter(xs, ys, s=22, color=color, alpha=alpha, linewidth=0, label=label)


def _generation_starts(searched: Searched) -> list[int]:
    """Find the number of the first subnet of each generation after the first."""
    pairs = zip(searched.candidates, searched.candidates[1:], strict=False)
    return [candidate.index for before, candidate in pairs if candidate.generation != before.generation]
