"""Warns when small images come as JPEG files, which costs accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

SMALL_PIXELS = 64
"""An image counts as small if its longest side is at most this: JPEG's 8 x 8 blocks are then a large part of it."""

_LOOKED_AT = 3


def lossy_note(images: Sequence[Path]) -> str | None:
    """Warn if the first of these images are small JPEG files, else return None; only their headers are read.

    Re-encoding CIFAR-100 at Pillow's default quality is known to cost several points of accuracy.
    """
    sizes = [_jpeg_size(path) for path in images[:_LOOKED_AT]]
    if not sizes or any(size is None or max(size) > SMALL_PIXELS for size in sizes):
        return None
    width, height = sizes[0] or (0, 0)
    return (
        f"WARNING: The training images are JPEG files of {width} x {height} pixels. Images this small cost several "
        "points of accuracy when encoded as JPEG at default quality; if you can, make the files again from the "
        "source, as PNG."
    )


def _jpeg_size(path: Path) -> tuple[int, int] | None:
    """(width, height) of a JPEG file, whatever its suffix; None if it is not a JPEG file."""
    try:
        with Image.open(path, formats=("JPEG",)) as image:
            return image.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # Damage is reported when it is decoded.
        return None
