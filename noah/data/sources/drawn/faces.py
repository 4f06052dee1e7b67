"""Characters in the font faces that come with matplotlib, which is looked for but never imported."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from noah.errors import MissingPackageError

SANS = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSans-Oblique", "DejaVuSans-BoldOblique")
SERIF = (
    *("DejaVuSerif", "DejaVuSerif-Bold", "DejaVuSerif-Italic", "DejaVuSerif-BoldItalic"),
    *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
)
MONO = ("DejaVuSansMono", "DejaVuSansMono-Bold", "DejaVuSansMono-Oblique", "DejaVuSansMono-BoldOblique")
COMPUTER_MODERN = ("cmr10", "cmss10", "cmtt10", "cmb10")
FACES = (*SANS, *SERIF, *MONO, *COMPUTER_MODERN)
"""All faces whose code points are those of the letters; matplotlib's other fonts are for symbols."""

_SIZE = 128  # The size in pixels at which every character is drawn, a few times as large as in an image.


def find_fonts() -> Path:
    """Find the folder of matplotlib's font files.

    Raises:
        MissingPackageError: If matplotlib is not installed, or comes without a file of `FACES`.
    """
    spec = find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise MissingPackageError(
            "Letters are drawn in the fonts of matplotlib, which is not installed.",
            "Type: pip install matplotlib",
        )
    folder = Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"
    missing = [face for face in FACES if not (folder / f"{face}.ttf").is_file()]
    if missing:
        raise MissingPackageError(
            f"Letters are drawn in the fonts of matplotlib, of which {folder} lacks {missing[0]}.ttf.",
            "Type: pip install --force-reinstall matplotlib",
        )
    return folder


def has_fonts() -> bool:
    """Whether `find_fonts` finds them."""
    try:
        find_fonts()
    except MissingPackageError:
        return False
    return True


@cache
def glyph(face: str, character: str) -> Image.Image:
    """Draw one character, cut to its outline.

    Args:
        face: One of `FACES`.
        character: One letter or digit.

    Returns:
        Mode L, about 90 pixels high for a capital letter or a digit: 255 inside the character, 0 outside.

    Raises:
        MissingPackageError: See `find_fonts`.
    """
    # Pillow's own layout; the other one depends on a library of the system.
    font = ImageFont.truetype(find_fonts() / f"{face}.ttf", _SIZE, layout_engine=ImageFont.Layout.BASIC)
    drawn = Image.new("L", (2 * _SIZE, 2 * _SIZE))
    ImageDraw.Draw(drawn).text((_SIZE // 2, _SIZE // 4), character, fill=255, font=font)
    return drawn.crop(drawn.getbbox())
