"""Notes in the ONNX file: written, read back, and labels compared."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

from export.artifact.metadata import CLASSES, SUBNET, check_labels, label_difference, read_metadata, write_metadata
from export.runtime.onnx_session import open_session
from noah.errors import ExportError
from tests.export.tiny_artifact import make_model

LABELS = ("café", "a, b", "dog", "鳥")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    onnx.save(make_model(), path)
    return path


def test_notes_are_read_back_and_onnxruntime_sees_them(model: Path) -> None:
    notes = {CLASSES: list(LABELS), SUBNET: {"lora": [1, 2]}}
    write_metadata(model, notes)
    assert read_metadata(model) == notes
    metadata = open_session(model, provider="cpu").metadata
    assert json.loads(metadata[CLASSES]) == list(LABELS)


def test_notes_take_the_place_of_earlier_ones_and_weights_stay(model: Path) -> None:
    before = onnx.load(model).graph
    write_metadata(model, {CLASSES: ["old"]})
    write_metadata(model, {CLASSES: ["new"]})
    assert read_metadata(model) == {CLASSES: ["new"]}
    assert onnx.load(model).graph == before


def test_two_swapped_labels_fail_the_check_of_labels(model: Path) -> None:
    write_metadata(model, {CLASSES: [LABELS[0], LABELS[2], LABELS[1], LABELS[3]]})
    with pytest.raises(ExportError) as raised:
        check_labels(model, LABELS)
    assert raised.value.problem == (
        "The exported model fails the label check: it calls class 1 'dog' instead of 'a, b'."
    )
    write_metadata(model, {CLASSES: list(LABELS)})
    check_labels(model, LABELS)


def test_a_file_without_labels_fails_the_check(model: Path) -> None:
    with pytest.raises(ExportError, match="it names 0 classes instead of 4"):
        check_labels(model, LABELS)


def test_the_first_difference_is_told() -> None:
    assert label_difference(["a", "b"], ("a", "b")) == ""
    assert label_difference(["a", "c"], ("a", "b")) == "it calls class 1 'c' instead of 'b'"
