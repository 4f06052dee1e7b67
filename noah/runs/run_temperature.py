"""The temperature that belongs to a run's trained network, or why there is none."""

from __future__ import annotations

from typing import Any

from noah.errors import RunError
from noah.evaluation.temperature import Temperature
from noah.runs.folder import Run

EARLIER = "an earlier version trained it, which fitted none"


def has_fitted(run: Run) -> bool:
    """Whether the run was trained by a version that fitted temperatures, and has finished."""
    if not run.path("retrain", "model.json").is_file():
        return False
    model = run.read_json("retrain", "model.json")
    return isinstance(model, dict) and "temperature" in model


def kept_temperature(temperature: Temperature | None, why_none: str) -> dict[str, Any]:
    """What retrain/model.json keeps under `temperature`: the fit, or the reason why there is none."""
    return {"why_none": why_none} if temperature is None else temperature.to_json()


def read_temperature(run: Run) -> tuple[Temperature | None, str]:
    """Read the temperature of the trained network, and the reason if there is none.

    Raises:
        RunError: If retrain/model.json is missing or damaged.
    """
    model = run.read_json("retrain", "model.json")
    try:
        kept = model.get("temperature")
        if kept is None:
            return None, EARLIER
        if "why_none" in kept:
            return None, str(kept["why_none"])
        return Temperature.from_json(kept), ""
    except (AttributeError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.path('retrain', 'model.json')} is damaged: temperature: {error}.",
            f"Train it again: noah retrain --restart --run {run.option}",
        ) from error
