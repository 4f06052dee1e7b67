"""Text that somebody else chose, as the name of a file or a class, where noah writes it for people or programs.

A name is nothing but a name: it does not break a file in UTF-8, a spreadsheet does not run it, and a document in
Markdown shows it as it is.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_STARTS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")  # noqa: RUF001 -- the wide ones count
_MARKS = re.compile(r"[\\`*\[\]<>|~&!#$]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown gives a meaning inside a line; an underscore inside a word has none."""


def printable(path: Path | str) -> str:
    r"""A path with each byte that is not UTF-8 written as a backslash, x and two digits; any other path as it is."""
    return str(path).encode("utf-8", sys.getfilesystemencodeerrors()).decode("utf-8", "backslashreplace")


def is_utf8(path: Path | str) -> bool:
    """Whether a path is text, and not bytes of another encoding that the system let through."""
    return printable(path) == str(path)


def csv_text(text: str) -> str:
    """The text of a cell in a CSV file, behind an apostrophe where a spreadsheet would take it for a formula.

    One that begins with apostrophes before such a sign gets another, so that `from_csv_text` gives every text back.
    """
    return f"'{text}" if text.lstrip("'").startswith(_STARTS_A_FORMULA) else text


def from_csv_text(cell: str) -> str:
    """The text of which `csv_text` made a cell, which loses the apostrophe that keeps it from being a formula."""
    return cell[1:] if cell.startswith("'") and csv_text(cell) != cell else cell


def markdown_text(text: str) -> str:
    """The text inside a line of Markdown, which shows it as it is; a line end becomes a blank."""
    return _MARKS.sub(r"\\\g<0>", " ".join(text.splitlines()))
