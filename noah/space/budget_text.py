"""How people write the limits of a budget: 0.64M, 1.1x, 12ms."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_NUMBER = r"([0-9]+\.?[0-9]*|\.[0-9]+)"
_COUNTS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}
_HALF_A_DIGIT = 0.0005
"""Of 1000: half of the last of the three digits that are written of 999."""
_SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6}

MACS_SPELLING = "a number of multiply-accumulates for one image, such as 4.5G, or a multiple of the backbone's: 1.1x"
LATENCY_SPELLING = "a time for one image, such as 12ms, 800us or 0.1s, or a multiple of the backbone's: 1.1x"


@dataclass(frozen=True, slots=True)
class Multiple:
    """A limit given as a multiple of what the plain backbone costs."""

    factor: float


def read_parameters(text: str) -> int | None:
    """Read the number in "0.64M", "500k" or "640000"; None if the text is not a number of at least 1."""
    return _read_count(text, "km")


def read_macs(text: str | int) -> int | Multiple | None:
    """Read the number in "4.5G", "900M" or "4500000000", or the multiple in "1.1x"; None if the text is neither."""
    if isinstance(text, int):
        return text if text >= 1 else None
    multiple = _read_multiple(text)
    return multiple if multiple is not None else _read_count(text, "kmg")


def read_latency(text: str) -> float | Multiple | None:
    """Read the seconds in "12ms", "800us" or "0.1s", or the multiple in "1.1x"; None if the text is neither."""
    multiple = _read_multiple(text)
    if multiple is not None:
        return multiple
    match = re.fullmatch(f"{_NUMBER}(s|ms|us)", text.strip())
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0.0
    return seconds if 0 < seconds < math.inf else None


def spell_count(count: float) -> str:
    """Write a number with three digits and a suffix, such as 5.47 G or 640 k; below a thousand it is left whole."""
    for suffix, unit in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if count >= (1 - _HALF_A_DIGIT) * unit:  # what would be written as 1000 of the unit below
            return f"{_three_digits(max(1, count / unit))} {suffix}"
    return f"{count:.0f}"


def spell_seconds(seconds: float) -> str:
    """Write a time with up to three digits and its unit, such as 12 ms, 800 us or 1.5 s."""
    for suffix, unit in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= (1 - _HALF_A_DIGIT) * unit:
            return f"{_three_digits(max(1, seconds / unit))} {suffix}"
    return f"{_three_digits(seconds / 1e-6)} us"


def write_limit(quantity: str, limit: float) -> str:
    """Write a bound the way --budget takes it, such as params=1026; fractions are rounded up."""
    if quantity == "latency":
        return f"latency={max(math.ceil(limit * 1e6), 1)}us"
    return f"{'params' if quantity == 'parameters' else quantity}={math.ceil(limit)}"


def _read_multiple(text: str) -> Multiple | None:
    match = re.fullmatch(f"{_NUMBER}x", text.strip())
    factor = float(match[1]) if match else 0.0
    return Multiple(factor) if 0 < factor < math.inf else None


def _read_count(text: str, suffixes: str) -> int | None:
    match = re.fullmatch(f"{_NUMBER}([{suffixes}]?)", text.strip(), re.IGNORECASE | re.ASCII)
    number = float(match[1]) * _COUNTS[match[2].lower()] if match else 0.0
    count = round(number) if number < math.inf else 0
    return count if count >= 1 else None


def _three_digits(number: float) -> str:
    if number >= 100:
        return f"{number:.0f}"
    digits = f"{number:.{2 if number < 10 else 1}f}"
    return digits.rstrip("0").rstrip(".")
