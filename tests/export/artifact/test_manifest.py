from __future__ import annotations

import errno
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from export.artifact.manifest import Manifest, check_files, file_record, read_manifest, write_manifest
from export.artifact.records import FileRecord, ModelInput, ParityBatch, QuantizationRecord
from noah.errors import ArtifactError
from tests.export.tiny_artifact import CLASSES, PREPROCESSING, Kind, make_artifact, make_manifest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_artifact(tmp_path / "artifact")


def change(folder: Path, **values: Any) -> None:
    """Edit manifest.json as a person might."""
    path = folder / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_what_is_written_is_read_back(folder: Path) -> None:
    manifest = make_manifest(folder / "model.onnx")
    assert write_manifest(manifest, folder) == folder / "manifest.json"
    assert read_manifest(folder) == manifest
    assert read_manifest(folder / "manifest.json") == manifest
    assert manifest.classes == CLASSES
    assert manifest.preprocessing == PREPROCESSING.to_json()


@pytest.mark.parametrize("kind", ["float32", "uint8"])
def test_a_manifest_of_an_earlier_version_is_read_as_if_it_had_todays_spelling(folder: Path, kind: Kind) -> None:
    """It spelled one key and one value as the British do."""
    record = QuantizationRecord(
        products=3,
        kept={"narrow": 1},
        ranges="minmax over 12 training images",
        images="18 validation images",
        total=18,
        correct=17,
        correct_in_float32=17,
        top1_agreement=1.0,
    )
    manifest = make_manifest(folder / "model.onnx", kind, precision="int8", quantization=record)
    path = write_manifest(manifest, folder)
    text = path.read_text(encoding="utf-8")
    assert ('"values": "normalized"' in text) == (kind == "float32")
    path.write_text(
        text.replace('"quantization"', '"quantisation"').replace('"normalized"', '"normalised"'), encoding="utf-8"
    )
    before = path.read_bytes()
    assert read_manifest(folder) == manifest
    assert path.read_bytes() == before
    change(folder, quantization=None)  # beside the other spelling it is one key too many
    with pytest.raises(ArtifactError, match="quantisation: Extra inputs are not permitted"):
        read_manifest(folder)


def test_the_file_is_readable_by_people(folder: Path) -> None:
    text = (folder / "manifest.json").read_text(encoding="utf-8")
    assert text.startswith(
        '{\n "format": "onnx",\n "format_version": 1,\n "created_by": "noah 0.1.0",\n'
        ' "run": {\n  "name": "shapes/first",\n'
    )
    assert "鳥" in text
    assert text.endswith("}\n")
    assert list(json.loads(text)) == list(Manifest.model_fields)


@given(classes=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=5))
def test_any_label_survives(classes: list[str]) -> None:
    manifest = make_manifest(
        Path(__file__),
        classes=tuple(classes),
        output={"name": "logits", "shape": ("batch", len(classes)), "type": "float32", "values": "logits"},
    )
    assert Manifest.model_validate_json(manifest.model_dump_json(indent=1), strict=True) == manifest


def test_a_manifest_cannot_be_changed(folder: Path) -> None:
    with pytest.raises(ValidationError):
        read_manifest(folder).opset = 3


def test_a_missing_manifest_names_the_command(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "manifest.json", tmp_path / "nowhere" / "manifest.json"):
        with pytest.raises(ArtifactError, match=r"manifest\.json does not exist\.\n.*noah export"):
            read_manifest(path)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000])
def test_what_is_not_json_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(ArtifactError, match="is not JSON"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("content", ["[]", "3", '"onnx"', "null"])
def test_json_that_is_no_object_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "manifest.json").write_text(content)
    with pytest.raises(ArtifactError, match="not a manifest"):
        read_manifest(tmp_path)


def test_all_problems_are_told_at_once_in_two_lines(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    del manifest["dataset"]
    manifest["opset"] = "20"
    manifest["surprise"] = 1
    manifest["parity"][0]["batches"][0]["top1_agreement"] = 1.5
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ArtifactError) as caught:
        read_manifest(folder)
    message = str(caught.value)
    for key in ("dataset", "opset", "surprise", "parity.0.batches.0.top1_agreement"):
        assert f"{key}: " in message
    assert len(message.splitlines()) == 2


def test_a_newer_layout_asks_for_an_update(folder: Path) -> None:
    change(folder, format_version=2, created_by="noah 9.0", unknown_to_this_version=True)
    with pytest.raises(ArtifactError, match=r"format_version 2, written by noah 9\.0.*\n.*pip install --upgrade"):
        read_manifest(folder)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", ""),
        ("opset", None),
        ("files", {"model.engine": {"sha256": "0" * 64, "bytes": 1}}),
        ("precision", "fp8"),
        ("parity", []),
        ("format_version", 0),
        ("classes", []),
        ("classes", ["only one"]),
        ("files", {}),
        ("files", {"model.onnx": {"sha256": "abc", "bytes": 1}}),
        ("subnet", {"prompt": [-1], "lora": [0], "adapter": [0]}),
    ],
)
def test_wrong_values_are_refused(folder: Path, field: str, value: object) -> None:
    change(folder, **{field: value})
    with pytest.raises(ArtifactError, match="is not a manifest that this noah reads"):
        read_manifest(folder)


def test_only_the_two_kinds_of_input_exist() -> None:
    with pytest.raises(ValidationError, match="neither float32 NCHW normalized nor uint8 NHWC raw"):
        ModelInput(name="x", shape=("batch", 3, 8, 8), type="uint8", layout="NCHW", values="raw")
    with pytest.raises(ValidationError, match="NCHW needs 4"):
        ModelInput(name="x", shape=("batch", 3, 8), type="float32", layout="NCHW", values="normalized")


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_no_parity_is_recorded_that_is_not_a_number(value: float) -> None:
    with pytest.raises(ValidationError):
        ParityBatch(batch=1, max_difference=value, mean_difference=0, max_absolute=0, top1_agreement=1)


def test_a_file_record_is_the_size_and_the_published_hash(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert file_record(tmp_path / "file") == FileRecord(
        sha256="ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad", bytes=3
    )


def test_whole_files_pass(folder: Path) -> None:
    check_files(read_manifest(folder), folder)


def test_a_changed_a_cut_and_a_missing_file_are_named(folder: Path) -> None:
    manifest, model = read_manifest(folder), folder / "model.onnx"
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ArtifactError, match=r"model\.onnx was changed or damaged: its SHA-256.*\n.*noah export"):
        check_files(manifest, folder)
    model.write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match=r"model\.onnx was changed or damaged: its size"):
        check_files(manifest, folder)
    model.unlink()
    with pytest.raises(ArtifactError, match=r"lacks its file model\.onnx\.\n.*noah export"):
        check_files(manifest, folder)


@pytest.mark.parametrize(
    "name", ["../model.onnx", "/etc/hostname", "a/../../model.onnx", "..\\model.onnx", "C:model.onnx", "\\model.onnx"]
)
def test_names_that_leave_the_folder_are_refused(folder: Path, name: str) -> None:
    record = file_record(folder / "model.onnx")
    (folder.parent / "model.onnx").write_bytes((folder / "model.onnx").read_bytes())
    manifest = make_manifest(folder / "model.onnx", files={name: record})
    with pytest.raises(ArtifactError, match="outside its folder"):
        check_files(manifest, folder)


def test_a_file_without_permission_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> FileRecord:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr("export.artifact.manifest.file_record", refuse)
    with pytest.raises(ArtifactError, match=r"Cannot read .*model\.onnx: Permission denied"):
        check_files(read_manifest(folder), folder)
