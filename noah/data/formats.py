"""The image formats that noah reads: how files are told apart, and what opens them."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from PIL import Image, Jpeg2KImagePlugin, JpegImagePlugin, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from noah.errors import UnreadableImageError

IMAGE_SUFFIXES: frozenset[str] = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".heic",
        ".heif",
        ".hif",
        ".jfif",
        ".jp2",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".jxl",
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

# The formats that Pillow itself opens. Without this list it would try every format it knows; EPS starts Ghostscript.
_FORMATS = ("PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")

_HEAD = 64
"""How many bytes at the beginning of a file tell its format."""
_JPEG = b"\xff\xd8\xff"
_JPEG_2000 = (b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  \r\n\x87\n")
_JXL_BOXES = b"\x00\x00\x00\x0cJXL \r\n\x87\n"
_JXL = (b"\xff\x0a", _JXL_BOXES)
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})


@dataclass(frozen=True, slots=True)
class Extra:
    """A format that another package opens.

    Attributes:
        name: What people call it.
        extra: What is installed for it.
        package: The module that it is in.
        format: Pillow's name of the format.
        register: Imports it, and tells Pillow of it.
    """

    name: str
    extra: str
    package: str
    format: str
    register: Callable[[], object]

    @property
    def cause(self) -> str:
        """Why an image of this format cannot be read where the package is not installed."""
        return f"it is in the format {self.name}, which needs pip install 'noah-prompt-search[{self.extra}]'."


def _register_heif() -> None:
    import pillow_heif

    if HEIC.format not in Image.OPEN:
        pillow_heif.register_heif_opener()


def _register_jxl() -> object:
    import pillow_jxl

    return pillow_jxl  # which tells Pillow when it is imported


HEIC = Extra("HEIC", "heic", "pillow_heif", "HEIF", _register_heif)
JPEG_XL = Extra("JPEG XL", "jxl", "pillow_jxl", "JXL", _register_jxl)
EXTRAS = (HEIC, JPEG_XL)


class MissingDecoderError(UnreadableImageError):
    """An image is in a format whose package is not installed.

    Attributes:
        extra: The format.
        name: The image.
    """

    def __init__(self, extra: Extra, name: str = "an image") -> None:
        self.extra, self.name = extra, name
        super().__init__(f"Cannot read {name}: {extra.cause}", "", extra.cause)

    def __reduce__(self) -> tuple[Callable[[Extra, str], MissingDecoderError], tuple[Extra, str]]:
        return MissingDecoderError, (self.extra, self.name)


def is_image_path(path: Path | str) -> bool:
    """Whether a file's name ends like that of an image; the file itself is not opened."""
    return Path(path).suffix.lower() in IMAGE_SUFFIXES


def open_lazily(file: BinaryIO) -> ImageFile:
    """Open an image by the first bytes of its file, whatever its name says; pixels are not decoded yet.

    JPEG and JPEG 2000 may be of any size here, because both can be decoded reduced. Of the others, those of more
    pixels than Pillow allows are refused.

    Raises:
        MissingDecoderError: If the format needs a package that is not installed.
        PIL.UnidentifiedImageError: If it is in no known format, or damaged at its beginning.
        PIL.Image.DecompressionBombError: If it is too large for Pillow.
    """
    file.seek(0)
    head = file.read(_HEAD)
    file.seek(0)
    if head.startswith(_JPEG):
        return _construct(JpegImagePlugin.jpeg_factory, file)
    if head.startswith(_JPEG_2000):
        return _construct(Jpeg2KImagePlugin.Jpeg2KImageFile, file)
    extra = extra_of(head)
    if extra is None:
        return Image.open(file, formats=_FORMATS)
    import_decoder(extra)
    if extra is JPEG_XL:  # which decodes everything when it is opened
        _refuse_large_jxl(file)
    return Image.open(file, formats=(extra.format,))


def _construct(factory: Callable[..., Any], file: BinaryIO) -> ImageFile:
    """Open a file as `Image.open` does, but without its limit on the size."""
    try:
        image: ImageFile = factory(file, None)
    except (SyntaxError, IndexError, TypeError, struct.error) as error:
        raise UnidentifiedImageError(str(error)) from error
    return image


def extra_of(head: bytes) -> Extra | None:
    """The format of a file that Pillow itself does not open, by its first bytes; None for all others."""
    if head.startswith(_JXL):
        return JPEG_XL
    if head[4:8] != b"ftyp":
        return None
    end = min(max(int.from_bytes(head[:4], "big"), 16), len(head))
    brands = {head[8:12], *(head[start : start + 4] for start in range(16, end - 3, 4))}
    return HEIC if brands & _HEIF_BRANDS and not brands & _AVIF_BRANDS else None


def import_decoder(extra: Extra) -> None:
    """Import the package that opens a format, and tell Pillow of it.

    Raises:
        MissingDecoderError: If it is not installed.
    """
    try:
        extra.register()
    except ImportError:
        raise MissingDecoderError(extra) from None


def _refuse_large_jxl(file: BinaryIO) -> None:
    """Hold a JPEG XL image to Pillow's limit before it is decoded."""
    start = file.read(2**16)
    file.seek(0)
    if start.startswith(_JXL_BOXES):
        at = start.find(b"\xff\x0a", len(_JXL_BOXES))
        start = start[at:] if at >= 0 else b""
    width, height = _jxl_size(start[2:])
    if width * height > (Image.MAX_IMAGE_PIXELS or 0):
        raise Image.DecompressionBombError(f"{width} x {height}")


def _jxl_size(header: bytes) -> tuple[int, int]:
    """Width and height in a codestream's SizeHeader (ISO/IEC 18181-1, annex D.2), which follows its two bytes FF 0A."""
    bits, at = int.from_bytes(header[:16], "little"), 0

    def take(count: int) -> int:
        nonlocal at
        value = (bits >> at) & ((1 << count) - 1)
        at += count
        return value

    small = take(1)

    def side() -> int:
        return 8 * (take(5) + 1) if small else take((9, 13, 18, 30)[take(2)]) + 1

    height = side()
    ratio = take(3)
    if ratio == 0:
        return side(), height
    across, down = ((1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))[ratio - 1]
    return height * across // down, height
