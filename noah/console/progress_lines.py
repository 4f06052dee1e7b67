"""Draws the few lines under a progress bar while a stage runs, from the details that the stage reports."""

from __future__ import annotations

from collections.abc import Sequence

from noah.progress import Detail, SearchDetail, TrainingDetail, counted

BARS = "▁▂▃▄▅▆▇█"
_LABEL = 10
_MOST_SPARKS = 40
"""Columns of a curve; more would not show more."""
_USE = 10
"""Columns of the bar that shows how much of a budget is used."""


def draw_detail(detail: Detail, done: float, seconds: float, columns: int) -> list[str]:
    """Draw the lines, each no longer than `columns`.

    Args:
        detail: The stage's latest report.
        done: Units of the bar that this process has done since it was opened.
        seconds: Time that they took.
        columns: Width of the terminal.
    """
    if isinstance(detail, TrainingDetail):
        lines = _draw_training(detail, done / seconds if seconds > 0 else 0.0, columns)
    else:
        lines = _draw_search(detail, columns)
    return [line[:columns] for line in lines]


def sparkline(values: Sequence[float], columns: int) -> str:
    """Draw values as a row of bars from the smallest to the largest; too many are grouped, and the last is shown."""
    if not values:
        return ""
    columns = max(1, min(columns, len(values)))
    shown = [values[(place + 1) * len(values) // columns - 1] for place in range(columns)]
    low, high = min(shown), max(shown)
    if high == low:
        return BARS[0] * len(shown)
    return "".join(BARS[round((len(BARS) - 1) * (value - low) / (high - low))] for value in shown)


def _draw_training(detail: TrainingDetail, epochs_a_second: float, columns: int) -> list[str]:
    lines = []
    if epochs_a_second:
        lines.append(f"{'speed':<{_LABEL}}{_speed(epochs_a_second * detail.images)} images a second")
    if detail.losses:
        label = f"{'loss':<{_LABEL}}{detail.losses[-1]:.3f} "
        lines.append(label + sparkline(detail.losses, min(_MOST_SPARKS, columns - len(label))))
    return lines


def _draw_search(detail: SearchDetail, columns: int) -> list[str]:
    later = detail.generations - 1  # as `search.generations` counts them
    if detail.generation == 1:
        follow = "follows" if later == 1 else "follow"
        this = f"first generation; {later} more {follow}" if later else "the only generation"
    else:
        this = f"generation {detail.generation - 1} of {later} after the first"
    lines = [f"{'round':<{_LABEL}}{this}"]
    if not detail.accuracies:
        return lines
    label = f"{'best':<{_LABEL}}{detail.accuracies[-1]:.1%}, subnet {detail.best} "
    lines.append(label + sparkline(detail.accuracies, min(_MOST_SPARKS, columns - len(label))))
    for words, share in detail.uses:
        full = round(_USE * min(share, 1.0))
        lines.append(f"{'budget':<{_LABEL}}{'█' * full}{'░' * (_USE - full)} {share:.0%} of {words}")
    if detail.given_up:
        given_up = counted(detail.given_up, "subnets")
        saved = 1 - detail.images_shown / detail.images_of_all
        lines.append(f"{'racing':<{_LABEL}}{saved:.0%} of the images saved, {given_up} given up early")
    return lines


def _speed(images_a_second: float) -> str:
    return f"{images_a_second:,.0f}" if images_a_second >= 10 else f"{images_a_second:.1f}"
