"""Lists of image numbers as short texts, for files that hold one for each candidate of a search.

In plain numbers an image takes six or seven characters. Here a list is one of two things, whichever is shorter: a bit
for every image from its first to its last, `FIRST:BASE64`, where it ascends; or its numbers in as many bits as the
largest takes, `COUNTxBITS:BASE64`. The lowest bit comes first. Nothing at all is the empty list.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_IMAGES = 2**24
"""Numbers of images are smaller."""
_WIDEST = (MOST_IMAGES - 1).bit_length()
_MASK = re.compile(r"([0-9]{1,8}):(.+)")
_NUMBERS = re.compile(r"([0-9]{1,8})x([0-9]{1,2}):(.+)")


def pack_images(images: Sequence[int]) -> str:
    """The text of a list of image numbers, which `unpack_images` turns back into it.

    Raises:
        ValueError: If a number is negative or too large.
    """
    numbers = np.array(images, dtype=np.int64)
    if not len(numbers):
        return ""
    if numbers.min() < 0 or numbers.max() >= MOST_IMAGES:
        raise ValueError(f"images are numbered from 0 to {MOST_IMAGES - 1:,}")
    width = max(int(numbers.max()).bit_length(), 1)
    first, span = int(numbers[0]), int(numbers[-1] - numbers[0]) + 1
    if (np.diff(numbers) > 0).all() and span <= len(numbers) * width:
        mask = np.zeros(span, dtype=bool)
        mask[numbers - first] = True
        return f"{first}:{_to_text(mask)}"
    bits = (numbers[:, None] >> np.arange(width)) & 1
    return f"{len(numbers)}x{width}:{_to_text(bits.astype(bool).ravel())}"


def unpack_images(value: Any) -> tuple[int, ...]:
    """The image numbers of a text, or of a list of plain numbers as earlier versions wrote it.

    Raises:
        TypeError: If it is neither.
        ValueError: If the text is damaged.
    """
    if isinstance(value, list):
        return tuple(value)
    if not isinstance(value, str):
        raise TypeError(f"{type(value).__name__} is no list of images")
    if not value:
        return ()
    if match := _MASK.fullmatch(value):
        numbers = int(match[1]) + np.flatnonzero(_to_bits(match[2]))
    elif match := _NUMBERS.fullmatch(value):
        count, width = int(match[1]), int(match[2])
        bits = _to_bits(match[3])
        if not 0 < width <= _WIDEST or len(bits) != math.ceil(count * width / 8) * 8:
            raise ValueError("its number of images is not that of its bits")
        numbers = bits[: count * width].reshape(count, width).astype(np.int64) @ (1 << np.arange(width))
    else:
        raise ValueError("it is no list of images")
    if len(numbers) and numbers.max() >= MOST_IMAGES:
        raise ValueError(f"images are numbered from 0 to {MOST_IMAGES - 1:,}")
    return tuple(numbers.tolist())


def largest_text(images: int) -> int:
    """How many characters an ascending list out of so many images takes at most."""
    return len(f"{images}:") + math.ceil(math.ceil(images / 8) / 3) * 4


def _to_text(bits: NDArray[np.bool_]) -> str:
    return base64.b64encode(np.packbits(bits, bitorder="little").tobytes()).decode("ascii")


def _to_bits(text: str) -> NDArray[np.uint8]:
    content = np.frombuffer(base64.b64decode(text, validate=True), dtype=np.uint8)
    if len(content) > MOST_IMAGES // 8:
        raise ValueError("it is longer than any list of images")
    return np.unpackbits(content, bitorder="little")
