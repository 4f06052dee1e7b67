"""Turns keyword arguments into layers of settings, named and checked as the options of the commands are."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from noah.console.durations import parse_duration
from noah.errors import UsageError
from noah.settings.layers import Layer
from noah.settings.option_layers import option_layers

PathLike = str | os.PathLike[str]
OWN = ("device", "precision", "threads", "track")
"""What may differ between the stages of a run."""


def run_layers(options: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> list[Layer]:
    """Make the layers of a new run.

    Args:
        options: Values by the name of the option, without those of `OWN`; None stands for one that is not given.
        settings: Further settings, nested or by dotted key, above the options.

    Raises:
        UsageError: If an option stands for no setting, or its text cannot be read.
    """
    layers = option_layers(**options)
    return [*layers, Layer(source="--set", values=dict(settings))] if settings else layers


def paths(value: PathLike | Sequence[PathLike] | None) -> list[Path]:
    """One path or several as a list."""
    if value is None:
        return []
    return [Path(value)] if isinstance(value, str | os.PathLike) else [Path(path) for path in value]


def seconds(time_limit: str | float | timedelta | None) -> float | None:
    """The seconds of a time limit: a text such as 20m, a number of seconds, or a timedelta.

    Raises:
        UsageError: If it is not above 0.
    """
    if time_limit is None or isinstance(time_limit, str):
        return None if time_limit is None else parse_duration(time_limit)
    number = time_limit.total_seconds() if isinstance(time_limit, timedelta) else float(time_limit)
    if not 0 < number < float("inf"):
        raise UsageError(f"A time limit of {number:g} seconds is none.", 'Write it as "90s", "20m", "2h" or "1h30m".')
    return number
