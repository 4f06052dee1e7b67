"""A number of things in words."""

from __future__ import annotations


def counted(count: int, unit: str) -> str:
    """A number and its unit, which is given in the plural: 1 image, 1,200 images."""
    return f"{count:,} {unit.removesuffix('s') if count == 1 else unit}"
