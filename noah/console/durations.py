"""Reads a length of time as people type it, 90s, 20m or 1h30m, and writes one as people read it."""

from __future__ import annotations

import re

from noah.errors import UsageError

_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_DURATION = re.compile(f"(?:{_NUMBER}h)?(?:{_NUMBER}m)?(?:{_NUMBER}s)?", re.ASCII | re.IGNORECASE)
_SECONDS = (3600.0, 60.0, 1.0)


def parse_duration(text: str) -> float:
    """Give the seconds in a text like `2h`, `20m`, `90s`, `1h30m` or `1.5h`.

    Raises:
        UsageError: If it is anything else, or zero.
    """
    match = _DURATION.fullmatch(text.strip())
    parts = zip(match.groups() if match else (), _SECONDS, strict=False)
    seconds = sum(float(number) * unit for number, unit in parts if number is not None)
    if not 0 < seconds < float("inf"):
        raise UsageError(f"{text!r} is not a length of time.", "Write it as 90s, 20m, 2h or 1h30m.")
    return seconds


def format_seconds(seconds: float) -> str:
    """Format a time as 0.4 s, 45 s, 3 min 20 s or 2 h 5 min."""
    if 0.05 <= seconds < 0.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
