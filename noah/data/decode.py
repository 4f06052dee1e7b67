"""Opens an image file as upright 8-bit RGB, or says in one line why it cannot.

Every image that noah sees, in training and in prediction, comes through `open_image`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

import numpy as np
from PIL import Image, UnidentifiedImageError
from PIL.ExifTags import Base
from PIL.ImageFile import ImageFile

from noah.data.decoding import AS_STORED, WHOLE_DEPTH, Decoding
from noah.data.deep import GRAY_AND_ALPHA, color_values, is_deep, low_bytes, to_8_bits
from noah.data.formats import MissingDecoderError, open_lazily
from noah.errors import UnreadableImageError, system_cause

MAXIMUM_PIXELS = 89_478_485
"""An image of more pixels is decoded reduced, or else refused: they take 256 MiB as RGB, where Pillow starts to warn of
decompression bombs."""
LARGEST_REDUCED = 2**30
"""An image of more pixels than this is refused even if it could be decoded reduced."""
LARGEST_PROGRESSIVE = 2**27
"""The same for a progressive JPEG, all of whose coefficients are in memory at once."""
_END_OF_JPEG = b"\xff\xd9"
_TURNS: Mapping[object, Image.Transpose] = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes an image upright, by its EXIF orientation."""
_ON = {"white": (255, 255, 255), "black": (0, 0, 0)}

Source = Path | str | BinaryIO
"""A path, or a readable binary file whose beginning can be sought."""
Unusual = Literal["transparent", "16 bits", "reduced", "several frames"]
"""What is unusual about an image that can be read: some pixels are not opaque; its channels have 16 bits, whose range
the file does not say; it has too many pixels to be decoded at its own size; only the first of its frames is used."""


Remark = Literal["repaired", "too bright"]
"""What was done to an image when it was decoded: a JPEG that ends too early was decoded as far as it goes; values
beyond the bit depth of 16-bit files became white."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """A decoded image, upright and in mode RGB.

    Attributes:
        image: The image.
        remarks: What is worth telling about it.
    """

    image: Image.Image
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Inspection:
    """What an image file is like; pixels are not kept.

    Attributes:
        damage: Why it cannot be decoded as it is, in a few words that end with a period; empty if it can.
        repairable: Whether it can be decoded in part.
        missing: The extra that has to be installed for its format; empty if none.
        unusual: What is unusual about it.
        size: Width and height in pixels, as in its header; (0, 0) if that cannot be read.
        largest: The largest value of an image with 16 bits a channel; None for others.
    """

    damage: str = ""
    repairable: bool = False
    missing: str = ""
    unusual: tuple[Unusual, ...] = ()
    size: tuple[int, int] = (0, 0)
    largest: int | None = None


def open_image(source: Source, decoding: Decoding = AS_STORED) -> Image.Image:
    """Decode an image, turned upright by its EXIF orientation, in mode RGB, and leave no file open.

    Sixteen bits are scaled to 8 bits, and only the first frame of an animation is used. A JPEG or JPEG 2000 of more
    than `MAXIMUM_PIXELS` is decoded at a half, a quarter or an eighth of its size.

    Args:
        source: The file.
        decoding: What to do where more than one way is right.

    Raises:
        UnreadableImageError: If the file is missing, damaged, cut short, too large, or in no known format.
    """
    return decode_image(source, decoding).image


def decode_image(source: Source, decoding: Decoding) -> Decoded:
    """Do the same as `open_image`, and tell what was done to the image.

    Raises:
        UnreadableImageError: As `open_image` does.
    """
    with _told(_name(source)):
        try:
            return _decode(source, decoding)
        except (OSError, SyntaxError) as error:
            whole = _with_an_end(source) if decoding.repair and _may_lack_its_end(error) else None
            if whole is None:
                raise
            repaired = _repaired(whole, decoding, error)
            return replace(repaired, remarks=("repaired", *repaired.remarks))


def upright_rgb(image: Image.Image, name: str, decoding: Decoding = AS_STORED) -> Image.Image:
    """Turn an image that is open already upright, and convert it to RGB as `open_image` does.

    Args:
        image: Any image of Pillow; it stays as it is.
        name: What errors call it.
        decoding: What to do where more than one way is right.

    Raises:
        UnreadableImageError: If it is damaged, too large, its pixels have no known range, or Pillow keeps the high
            bytes of its colors alone, which tell nothing where fewer than 16 bits are used.
    """
    with _told(name):
        if image.width * image.height > MAXIMUM_PIXELS:
            raise UnreadableImageError("", *reversed(_too_large(f"{image.width} x {image.height}, more")))
        deep = decoding.bit_depth != WHOLE_DEPTH and is_deep(image)
        if deep and low_bytes(image) is not None:
            raise UnreadableImageError(
                "", "Pass its file instead.", "Pillow gives only 8 of the 16 bits of its colors."
            )
        upright = _upright(image, image)
        if deep:
            upright = Image.fromarray(to_8_bits(_gray_values(upright), decoding.bit_depth))
        return _to_rgb(upright, decoding)


def inspect_image(source: Source) -> Inspection:
    """Find out what an image file is like, and whether it can be decoded; nothing is raised for those that cannot.

    All data of the file is decoded, but a JPEG at an eighth of its size, which takes less than half of the time.
    """
    try:
        with _told(_name(source)), _opened(source) as image:
            return _inspect(image, source)
    except MissingDecoderError as error:
        return Inspection(damage=error.cause, missing=error.extra.extra)
    except UnreadableImageError as error:
        return Inspection(damage=error.cause, repairable=_may_lack_its_end(error.__cause__) and _is_repairable(source))


def _inspect(image: ImageFile, source: Source) -> Inspection:
    size, unusual = image.size, list[Unusual]()
    if _reduce(image):
        unusual.append("reduced")
    elif image.format in ("JPEG", "MPO"):
        image.draft(None, (max(1, image.width // 8), max(1, image.height // 8)))
    largest = None
    if is_deep(image):
        unusual.append("16 bits")
        values, _ = _deep_values(image, source)
        largest = int(values.max(initial=0))
    else:
        image.load()
        if image.mode == "F":
            _to_rgb(image, AS_STORED)  # which refuses it
    if _transparent(image):
        unusual.append("transparent")
    if _has_frames(image):
        unusual.append("several frames")
    return Inspection(unusual=tuple(unusual), size=size, largest=largest)


def _has_frames(image: ImageFile) -> bool:
    """Whether a file that could be decoded holds more images than its first; MPO has a copy of it in another size."""
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except Exception:  # as of `_told`; only a frame that is not used is damaged
        return False


def _may_lack_its_end(error: BaseException | None) -> bool:
    """Whether a decoder's error may come from a file that was cut short behind its header."""
    return isinstance(error, OSError | SyntaxError) and not isinstance(error, UnidentifiedImageError)


def _is_repairable(source: Source) -> bool:
    whole = _with_an_end(source)
    try:
        return whole is not None and bool(_repaired(whole, AS_STORED, OSError()))
    except Exception:  # as of `_told`: decoders raise almost anything
        return False


def _name(source: Source) -> str:
    """What errors call a file."""
    return str(source) if isinstance(source, Path | str) else str(getattr(source, "name", "image data"))


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Turn whatever Pillow raises into an error on one line that begins with a name."""
    try:
        yield
    except MissingDecoderError as error:
        raise MissingDecoderError(error.extra, name) from error
    except UnreadableImageError as error:
        raise _unreadable(name, error.cause, error.hint) from error
    except MemoryError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _unreadable(name, *_too_large("more")) from None
    except Exception as error:  # Pillow's decoders raise almost anything on damaged files: struct.error, EOFError, ...
        raise _unreadable(name, f"{_cause(error)}.") from error


@contextmanager
def _opened(source: Source) -> Iterator[ImageFile]:
    """Open an image without decoding it; the file of a path is closed afterwards."""
    if isinstance(source, Path | str):
        with Path(source).open("rb") as file, open_lazily(file) as image:
            yield image
    else:
        with open_lazily(source) as image:
            yield image


def _decode(source: Source, decoding: Decoding) -> Decoded:
    with _opened(source) as image:
        _reduce(image)
        if decoding.bit_depth == WHOLE_DEPTH or not is_deep(image):
            return Decoded(_to_rgb(_upright(image, image), decoding))
        values, alpha = _deep_values(image, source)
        shallow = Image.fromarray(to_8_bits(values, decoding.bit_depth)).convert("RGB")
        if alpha is not None:
            shallow.putalpha(Image.fromarray(alpha))
        too_bright: tuple[Remark, ...] = ("too bright",) if values.max(initial=0) >= 2**decoding.bit_depth else ()
        return Decoded(_to_rgb(_upright(shallow, image), decoding), too_bright)


def _upright(pixels: Image.Image, image: Image.Image) -> Image.Image:
    """Turn the pixels of an image upright; where its EXIF cannot be read, nothing says that they are not.

    Args:
        pixels: The image itself, or what was made of it.
        image: Whose EXIF says how it is turned.
    """
    image.load()  # because some formats have their EXIF behind the pixels
    try:
        turn = _TURNS.get(image.getexif().get(Base.Orientation, 1))
    except Exception:  # as of `_told`
        turn = None
    return pixels if turn is None else pixels.transpose(turn)


def _deep_values(image: ImageFile, source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """The values of an image with 16 bits a channel, and its alpha in 8 bits, if it has any."""
    raw = low_bytes(image)
    if raw is None:
        return _gray_values(image), None
    with _opened(source) as low:
        tile = low.tile[0]
        args = tile.args
        low.tile = [tile._replace(args=(raw, *args[1:]) if isinstance(args, tuple) else raw)]
        low.load()
        image.load()
        return color_values(image, low, gray=raw == GRAY_AND_ALPHA)


def _reduce(image: ImageFile) -> bool:
    """Arrange for an image of too many pixels to be decoded reduced; say whether that was needed.

    Raises:
        UnreadableImageError: If its format cannot, before any pixel is decoded.
    """
    width, height = image.size
    if width * height <= MAXIMUM_PIXELS:
        return False
    most = LARGEST_PROGRESSIVE if image.info.get("progressive") else LARGEST_REDUCED
    halvings = next((n for n in (1, 2, 3) if -(-width >> n) * -(-height >> n) <= MAXIMUM_PIXELS), None)
    if halvings is None or width * height > most or image.format not in ("JPEG", "MPO", "JPEG2000"):
        raise UnreadableImageError("", *reversed(_too_large(f"{width} x {height}, more")))
    if image.format == "JPEG2000":
        image.reduce = halvings  # type: ignore[method-assign, assignment]  # Pillow's name for the setting
    else:
        image.draft(None, (max(1, width >> halvings), max(1, height >> halvings)))
    return True


def _with_an_end(source: Source) -> BytesIO | None:
    """The bytes of a JPEG with the mark of its end, which makes the decoder fill what is missing; None for others."""
    try:
        if isinstance(source, Path | str):
            content = Path(source).read_bytes()
        else:
            source.seek(0)
            content = source.read()
    except OSError:
        return None
    return BytesIO(content + _END_OF_JPEG) if content.startswith(b"\xff\xd8\xff") else None


def _repaired(whole: BytesIO, decoding: Decoding, error: Exception) -> Decoded:
    """Decode a JPEG that was given an end, unless nothing of its picture is there."""
    found = _decode(whole, decoding)
    pixels = np.asarray(found.image)
    if (pixels == pixels[0, 0]).all():
        raise error
    return found


def _too_large(size: str) -> tuple[str, str]:
    """The cause and the hint."""
    return (
        f"it has {size} than the {MAXIMUM_PIXELS:,} pixels that noah decodes.",
        "Save the image at a smaller size, or leave it out.",
    )


def _transparent(image: Image.Image) -> bool:
    """Whether some pixels of a loaded image are not opaque."""
    if image.mode.startswith("I") or not image.has_transparency_data:
        return False
    lowest, _ = image.convert("RGBA").getchannel("A").getextrema()
    return bool(lowest != 255)


def _to_rgb(image: Image.Image, decoding: Decoding) -> Image.Image:
    """Convert any mode to RGB without clipping deep grays."""
    if image.mode.startswith("I;16") or image.mode == "I":
        return Image.fromarray(to_8_bits(_gray_values(image), WHOLE_DEPTH)).convert("RGB")
    if image.mode == "F":
        raise UnreadableImageError(
            "",
            "Save the image with 8 or 16 bits a channel.",
            "its floating-point pixels have no known range.",
        )
    if decoding.alpha != "ignore" and image.has_transparency_data:
        over = image.convert("RGBA")
        ground = Image.new("RGB", image.size, _ON[decoding.alpha])
        ground.paste(over, mask=over)
        return ground
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # The same colors as converting directly, which warns.
    return image.convert("RGB")


def _gray_values(image: Image.Image) -> np.ndarray:
    """The values of gray with 16 bits, (H, W)."""
    values = np.asarray(image)
    if image.mode == "I" and values.size and (values.min() < 0 or values.max() > 65535):
        raise UnreadableImageError(  # Pillow's mode for 16-bit PGM, but also for 32-bit TIFF.
            "", "Save the image with 8 or 16 bits a channel.", "its 32-bit integer pixels have no known range."
        )
    return values


def _unreadable(name: str, cause: str, hint: str = "") -> UnreadableImageError:
    return UnreadableImageError(f"Cannot read {name}: {cause}", hint, cause)


def _cause(error: Exception) -> str:
    """Only the reason, on one line, without the path that Pillow and the system repeat."""
    if isinstance(error, OSError) and error.strerror:
        return system_cause(error)
    if isinstance(error, UnidentifiedImageError):
        return "it is in no image format that noah knows, or damaged at its beginning"
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
