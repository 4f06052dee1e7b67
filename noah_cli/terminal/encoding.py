"""Plain characters for outputs that cannot show others, such as files in a system's own encoding.

All text is made for UTF-8. Characters that an output cannot show are replaced when they are written.
"""

from __future__ import annotations

import codecs
import io
import re
import unicodedata
from typing import TextIO

_HANDLER = "noah.plain"
_SUBSTITUTES = {
    **dict(zip("▁▂▃▄▅▆▇█", "_.:-=+*#", strict=True)),
    **dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-", strict=True)),
    "░": ".",
    "±": "+-",
    "·": ".",
    "•": "*",
    "\N{MULTIPLICATION SIGN}": "x",
    "…": "...",
    "\N{EN DASH}": "-",
    "\N{EM DASH}": "-",
    "\N{MINUS SIGN}": "-",
    "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'",
    "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
    "→": "->",
    "←": "<-",
    "≤": "<=",
    "≥": ">=",
    "≈": "~",
}
_EXPONENT = re.compile("[⁰¹²³⁴⁵⁶⁷⁸⁹⁻]+")


def show_plainly(stream: TextIO) -> None:
    """Let a stream write plain characters for those that its encoding does not have, instead of failing.

    Args:
        stream: A stream that encodes its text; any other is left as it is.
    """
    codecs.register_error(_HANDLER, _replace)
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors=_HANDLER)


_LINE_ENDS = "\x85\u2028\u2029"
"""What Unicode, but no terminal, takes for the end of a line."""


def plain(text: str) -> str:
    r"""Give a text in ASCII: signs become others of the same meaning, and bars keep their order and width.

    Letters appear as in a Python string, \xf6, so that a printed name can be found again.
    """
    return "".join(map(_plain_character, _EXPONENT.sub(lambda found: f"^{found[0]}", text)))


def _plain_character(character: str) -> str:
    if character in _SUBSTITUTES:
        return _SUBSTITUTES[character]
    narrow = unicodedata.normalize("NFKC", character)  # a full-width plus is a plus
    if narrow.isascii() and narrow.isprintable():
        return narrow
    if character in _LINE_ENDS:
        return " "
    name = unicodedata.name(character, "")
    if name.startswith("BOX DRAWINGS"):
        return {"HORIZONTAL": "-", "VERTICAL": "|"}.get(name.split()[-1] if "AND" not in name else "", "+")
    return character.encode("ascii", "backslashreplace").decode("ascii")


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return plain(error.object[error.start : error.end]), error.end
