"""The notes that an ONNX file carries, so that it is usable without its manifest: labels, preprocessing, subnet.

They are JSON texts in the model's `metadata_props`, which onnxruntime gives back as `custom_metadata_map`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noah.errors import ExportError

CLASSES = "noah.classes"
"""The note of an ONNX file that holds its labels in the order of the outputs, a JSON list."""


def label_difference(found: Sequence[str], expected: Sequence[str]) -> str:
    """Say in words where two lists of labels first differ; empty if they are the same."""
    if len(found) != len(expected):
        return f"it names {len(found)} classes instead of {len(expected)}"
    for index, (name, right) in enumerate(zip(found, expected, strict=True)):
        if name != right:
            return f"it calls class {index} {name!r} instead of {right!r}"
    return ""


PREPROCESSING = "noah.preprocessing"
"""The note that holds the result of `Preprocessing.to_json`."""
DECODING = "noah.decoding"
"""The note that holds the result of `Decoding.to_json`."""
SUBNET = "noah.subnet"
"""The note that holds the lists of widths, one width per block."""
OUTPUT = "noah.output"
"""The note that says what the outputs are: logits or probabilities."""
TEMPERATURE = "noah.temperature"
"""The note that says what logits are divided by before they become probabilities; probabilities already are."""
PRECISION = "noah.precision"
ORIGIN = "noah.created_by"


def write_metadata(path: Path, notes: Mapping[str, Any]) -> None:
    """Replace the notes of an ONNX file, each written as JSON; weights in a file beside it are not touched."""
    import onnx  # which takes its time, and is not needed to predict

    model = onnx.load(str(path), load_external_data=False)
    onnx.helper.set_model_props(model, {name: json.dumps(value, ensure_ascii=False) for name, value in notes.items()})
    onnx.save(model, str(path))


def read_metadata(path: Path) -> dict[str, Any]:
    """The notes of an ONNX file, decoded."""
    import onnx  # as above

    model = onnx.load(str(path), load_external_data=False)
    return {entry.key: json.loads(entry.value) for entry in model.metadata_props}


def check_label_note(note: str, classes: Sequence[str]) -> None:
    """Compare a note of labels, JSON, with those of the run.

    Raises:
        ExportError: If they differ; names the first label that does.
    """
    difference = label_difference(json.loads(note), classes)
    if difference:
        raise ExportError(
            f"The exported model fails the label check: {difference}.", "Nothing was written. Please report this."
        )


def check_labels(path: Path, classes: Sequence[str]) -> None:
    """Compare the labels that a file carries with those of the run.

    Raises:
        ExportError: If they differ; names the first label that does.
    """
    check_label_note(json.dumps(read_metadata(path).get(CLASSES, [])), classes)
