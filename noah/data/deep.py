"""Images of 16 bits a channel: which files hold them, their values, and how these become 8 bits.

Microscopes, X-ray detectors and cameras often store 10, 12 or 14 bits in 16, so that white is 1023, 4095 or 16383. Read
as 16 bits, such an image is all but black.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from noah.data.decoding import WHOLE_DEPTH

_ROWS = 256
"""How many rows are converted at once, because a large image takes a gigabyte as uint32."""
_USUAL_DEPTHS = (8, 10, 12, 14, WHOLE_DEPTH)
_DECLARED = ("JPEG2000", "JXL", "HEIF", "AVIF")
"""Formats whose files say how many bits their values use, so that Pillow has scaled them already."""
_NATIVE = "L" if sys.byteorder == "little" else "B"

GRAY_AND_ALPHA = "RGBA"
"""The raw mode that gives both bytes of 16-bit gray and of its alpha, in four channels."""
Values = npt.NDArray[np.uint16]


def is_deep(image: Image.Image) -> bool:
    """Whether an image has 16 bits a channel whose range its file does not say; one of colors has to be unloaded."""
    if image.format in _DECLARED:
        return False
    if image.format == "PPM" and _codec(image) not in ("", "raw"):
        return False  # its header says which value is white, and Pillow has scaled by that
    return image.mode.startswith("I;16") or image.mode == "I" or low_bytes(image) is not None


def _codec(image: Image.Image) -> str:
    tiles = getattr(image, "tile", [])
    return str(tiles[0][0]) if tiles else ""


def low_bytes(image: Image.Image) -> str | None:
    """The raw mode that decodes the low bytes of a 16-bit color image, of which Pillow gives only the high ones.

    Pillow unpacks RGB;16B by taking every other byte, and RGB;16L by taking those between: reading a file as if its
    bytes were in the other order gives what was left out.
    """
    tiles: list[Any] = getattr(image, "tile", [])
    if len(tiles) != 1:
        return None
    args = tiles[0][3]
    raw = args[0] if isinstance(args, tuple) and args else args
    if raw == "LA;16B":
        return GRAY_AND_ALPHA  # gray, its low byte, alpha, its low byte
    if not isinstance(raw, str) or raw[:-1] not in ("RGB;16", "RGBA;16", "RGBX;16"):
        return None
    order = _NATIVE if raw[-1] == "N" else raw[-1]
    return raw[:-1] + ("L" if order == "B" else "B") if order in "LB" else None


def color_values(high: Image.Image, low: Image.Image, *, gray: bool) -> tuple[Values, npt.NDArray[np.uint8] | None]:
    """The 16-bit colors of an image that was decoded twice, and its alpha in 8 bits, if it has any.

    Args:
        high: As Pillow decodes it.
        low: The same with the raw mode of `low_bytes`.
        gray: Whether it is gray with alpha, whose low bytes are in the second and fourth channel.

    Returns:
        uint16 (H, W, 3) or, for gray, (H, W); and uint8 (H, W) or None.
    """
    alpha = np.asarray(high.getchannel("A")) if high.mode == "RGBA" else None
    colors = np.empty((high.height, high.width, 3), np.uint16)
    for start in range(0, high.height, _ROWS):
        stop = min(start + _ROWS, high.height)
        upper, lower = (np.asarray(image.crop((0, start, image.width, stop))) for image in (high, low))
        colors[start:stop] = upper[..., :3]
        colors[start:stop] <<= 8
        colors[start:stop] |= lower[..., 1:2] if gray else lower[..., :3]
    return (colors[..., 0] if gray else colors), alpha


def to_8_bits(values: npt.NDArray[Any], depth: int) -> npt.NDArray[np.uint8]:
    """Scale 0 .. 2**depth - 1 to 0 .. 255, rounding to the nearest; what is larger becomes 255.

    The divisor is odd, which leaves no ties.
    """
    white = 2**depth - 1
    scaled = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        part = np.minimum(values[start : start + _ROWS].astype(np.uint32), white)
        scaled[start : start + _ROWS] = (part * 255 + white // 2) // white
    return scaled


def depth_of(largest: int) -> int:
    """The usual number of bits, 8, 10, 12, 14 or 16, that holds the largest value of many images; 16 for black ones."""
    return next((depth for depth in _USUAL_DEPTHS if 0 < largest < 2**depth), WHOLE_DEPTH)
