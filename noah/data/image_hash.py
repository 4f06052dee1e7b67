"""Hashes of decoded images: equal where the pixels are, or, perceptually, nearly equal where the images look alike."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from noah.errors import MissingPackageError

_SIDE = 512
"""Of larger images, so many rows and columns are hashed: hashing 12 megapixels would take as long as decoding them."""
NEAR = 4
"""In how many of its 64 bits a perceptual hash may differ where images are nearly the same.

Copies of photographs in half the size or in JPEG quality 30 mostly differ in 2 or fewer, and different parts of the
same photographs in 6 or more; but of 600 of scikit-learn's digits, which are 8 pixels wide, 6 look like another.
"""
_FLAT = 8
"""Between the darkest and the lightest gray of an image that shows nothing, whose perceptual hash is noise."""


@dataclass(frozen=True, slots=True, eq=False)
class Hashes:
    """The hashes of the images of a split.

    Attributes:
        exact: uint64 (n,): of the pixels; odd where only some of the pixels of a large image were hashed, so that
            equal hashes are no proof. 0 where the image was not read.
        near: uint64 (n,): perceptual; 0 where the image was not read, or is too flat for one. None if nobody
            asked for them.
    """

    exact: NDArray[np.uint64]
    near: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.exact)


class Hasher:
    """Collects the hashes of images as they are decoded, in whatever order and thread.

    Args:
        count: How many images there are.
        near: Whether to compute perceptual hashes, too.

    Raises:
        MissingPackageError: If they are asked for, and imagehash is not installed.
    """

    def __init__(self, count: int, *, near: bool) -> None:
        self._imagehash = import_imagehash() if near else None
        self._exact = np.zeros(count, np.uint64)
        self._near = np.zeros(count, np.uint64) if near else None

    def look(self, index: int, image: Image.Image) -> None:
        """Hash one image, in mode RGB."""
        self._exact[index] = pixel_hash(image)
        if self._near is not None and self._imagehash is not None:
            self._near[index] = _perceptual_hash(image, self._imagehash)

    def hashes(self) -> Hashes:
        """What was collected."""
        return Hashes(self._exact, self._near)


def pixel_hash(image: Image.Image) -> int:
    """Hash the size and pixels of an RGB image to 64 bits, never 0; odd if it is so large that some were left out."""
    sampled = image.width * image.height > _SIDE * _SIDE
    pixels = image.resize((_SIDE, _SIDE), Image.Resampling.NEAREST) if sampled else image
    digest = hashlib.sha256(f"{image.width}x{image.height}".encode())
    digest.update(pixels.tobytes())
    return (int.from_bytes(digest.digest()[:8], "little") & ~1 | sampled) or 2


def is_sampled(exact: int) -> bool:
    """Whether a hash is of some pixels only, so that it takes all of them to prove that two images are the same."""
    return bool(exact & 1)


def _perceptual_hash(image: Image.Image, imagehash: ModuleType) -> int:
    """The signs of the lowest frequencies, about their median (`imagehash.phash`); 0 if the image shows nothing."""
    gray = image.convert("L")
    darkest, lightest = gray.getextrema()
    if not isinstance(lightest, int) or not isinstance(darkest, int) or lightest - darkest < _FLAT:
        return 0
    return int.from_bytes(np.packbits(imagehash.phash(gray).hash).tobytes(), "little")


def import_imagehash() -> ModuleType:
    """The library imagehash, an extra.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        import imagehash
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "Nearly equal images are found by the package imagehash, which is not installed.",
            "Type: pip install 'noah-prompt-search[near]', or leave out --near.",
        ) from error
    module: ModuleType = imagehash
    return module
