"""Reads the values that name labels and groups, so that every source takes the same for missing and for equal."""

from __future__ import annotations

import math
import unicodedata


def plain_value(value: object) -> object:
    """A value as a table's cell: text without the spaces around it, 3 for 3.0, and None for what is missing or empty.

    Args:
        value: What a record or a column holds.
    """
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, float) and math.isnan(value):
        return None
    return int(value) if isinstance(value, float) and value.is_integer() else value  # pandas writes 3 as 3.0


def composed(name: str) -> str:
    """The same name in Unicode's composed form, NFC; macOS and archives made there have the other one."""
    return unicodedata.normalize("NFC", name)


def group_name(value: object) -> str | None:
    """The name of a group; None if the value is missing or empty, because then the image is in no group."""
    value = plain_value(value)
    return None if value is None else composed(str(value))
