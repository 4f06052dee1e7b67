"""The labels that an ONNX file carries, compared with those that it should have. Needs no onnx."""

from __future__ import annotations

from collections.abc import Sequence

CLASSES = "noah.classes"
"""The note of an ONNX file that holds its labels in the order of the outputs, a JSON list."""


def label_difference(found: Sequence[str], expected: Sequence[str]) -> str:
    """Where two lists of labels differ first, in words; empty where they are the same."""
    if len(found) != len(expected):
        return f"it names {len(found)} classes, and there are {len(expected)}"
    for index, (name, right) in enumerate(zip(found, expected, strict=True)):
        if name != right:
            return f"it names class {index} {name!r}, and it is {right!r}"
    return ""
