"""Opens an image file as upright 8-bit RGB, or says in one line why it cannot.

Every image that noah sees, in training and in prediction, comes through `open_image`.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from noah.errors import UnreadableImageError, system_cause

MAXIMUM_PIXELS = 89_478_485
"""An image of more pixels is refused: they take 256 MiB as RGB, where Pillow starts to warn of decompression bombs."""

_ROWS = 256
"""How many rows of a 16-bit gray image are converted at once."""

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".pnm",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)
"""The endings, in lower case, of file names that count as images."""

# The formats of IMAGE_SUFFIXES. Without this list Pillow would try every format it knows; EPS starts Ghostscript.
_FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")


def is_image_path(path: Path | str) -> bool:
    """Whether a file's name ends like that of an image; the file itself is not opened."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def open_image(source: Path | str | BinaryIO) -> Image.Image:
    """Decode an image, turned upright by its EXIF orientation, in mode RGB, and leave no file open.

    Sixteen-bit gray is scaled to 8 bits. Everything else is converted to RGB by Pillow: alpha is dropped, and only the
    first frame of an animation is used.

    Args:
        source: A path, or a readable binary file.

    Raises:
        UnreadableImageError: If the file is missing, damaged, cut short, too large, or in no known format.
    """
    name = str(source) if isinstance(source, Path | str) else str(getattr(source, "name", "image data"))
    try:
        with Image.open(source, formats=_FORMATS) as image:
            _refuse_bomb(image, name)
            return _to_rgb(ImageOps.exif_transpose(image), name)
    except (UnreadableImageError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _too_large(name, "more") from None
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files: struct.error, EOFError, ...
        raise _unreadable(name, f"{_cause(error)}.") from error


def upright_rgb(image: Image.Image, name: str) -> Image.Image:
    """Turn an image that is open already upright, and convert it to RGB as `open_image` does.

    Args:
        image: Any image of Pillow; it stays as it is.
        name: What errors call it.

    Raises:
        UnreadableImageError: If it is damaged, too large, or its pixels have no known range.
    """
    try:
        _refuse_bomb(image, name)
        return _to_rgb(ImageOps.exif_transpose(image), name)
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:  # it may be a file whose pixels are decoded only now
        raise _unreadable(name, f"{_cause(error)}.") from error


def _refuse_bomb(image: Image.Image, name: str) -> None:
    """Refuse an image by the size in its header, before any pixel is decoded."""
    if image.width * image.height > MAXIMUM_PIXELS:
        raise _too_large(name, f"{image.width} x {image.height}, more")


def _too_large(name: str, size: str) -> UnreadableImageError:
    return _unreadable(
        name,
        f"it has {size} than the {MAXIMUM_PIXELS:,} pixels that noah decodes.",
        "Save the image at a smaller size, or leave it out.",
    )


def _to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Convert any mode to RGB without clipping deep grays."""
    if image.mode.startswith("I;16"):
        return _gray_16_to_rgb(np.asarray(image))
    if image.mode == "I":  # Pillow's mode for 16-bit PGM, but also for 32-bit TIFF.
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise _unreadable(
                name, "its 32-bit integer pixels have no known range.", "Save the image with 8 or 16 bits a channel."
            )
        return _gray_16_to_rgb(values)
    if image.mode == "F":
        raise _unreadable(
            name, "its floating-point pixels have no known range.", "Save the image with 8 or 16 bits a channel."
        )
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # The same colors as converting directly, which warns.
    return image.convert("RGB")


def _gray_16_to_rgb(values: np.ndarray) -> Image.Image:
    """Scale 0..65535 to 0..255, rounding to the nearest; 65535 = 257 * 255, and an odd divisor leaves no ties."""
    gray = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):  # in parts, because a large image takes a gigabyte as uint32
        gray[start : start + _ROWS] = (values[start : start + _ROWS].astype(np.uint32) + 128) // 257
    return Image.fromarray(gray).convert("RGB")


def _unreadable(name: str, cause: str, hint: str = "") -> UnreadableImageError:
    return UnreadableImageError(f"Cannot read {name}: {cause}", hint, cause)


def _cause(error: Exception) -> str:
    """Only the reason, on one line, without the path that Pillow and the system repeat."""
    if isinstance(error, OSError) and error.strerror:
        return system_cause(error)
    if type(error).__name__ == "UnidentifiedImageError":
        return "it is in no image format that noah knows, or damaged at its beginning"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
