"""JSON for a file that was opened elsewhere, in any encoding."""

from __future__ import annotations

import codecs
import json
from typing import TextIO


def json_line(value: object, file: TextIO) -> str:
    """Write a value as one line of JSON, without the line ending; escape characters if the encoding may lack some.

    Args:
        value: Anything; parts that JSON cannot express are written as text.
        file: The file that the line is for.
    """
    unicode = codecs.lookup(file.encoding or "utf-8").name.startswith("utf")
    return json.dumps(value, ensure_ascii=not unicode, default=str)
