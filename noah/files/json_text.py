"""JSON for a file that somebody else opened, in an encoding of their choice."""

from __future__ import annotations

import codecs
import json
from typing import TextIO


def json_line(value: object, file: TextIO) -> str:
    """A value as JSON without its line end, with escapes where the file's encoding has not all characters.

    Args:
        value: What JSON can hold; anything else is written as its text.
        file: What the line is for.
    """
    unicode = codecs.lookup(file.encoding or "utf-8").name.startswith("utf")
    return json.dumps(value, ensure_ascii=not unicode, default=str)
