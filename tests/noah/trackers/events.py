"""Reads what TensorBoard keeps of a run."""

from __future__ import annotations

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def read_events(run: Path) -> EventAccumulator:
    """All events of a run folder."""
    events = EventAccumulator(str(run / "trackers" / "tensorboard"), size_guidance={"scalars": 0, "tensors": 0})
    events.Reload()
    return events


def series(events: EventAccumulator, name: str) -> dict[int, float]:
    """Step -> value; a step that was written twice fails."""
    points = events.Scalars(name)
    assert len({point.step for point in points}) == len(points), name
    return {point.step: point.value for point in points}
