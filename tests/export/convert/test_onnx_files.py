"""Files beyond the limit of protobuf: their weights lie beside them through every step of an export."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from export.artifact.metadata import CLASSES, read_metadata, write_metadata
from export.convert.onnx_files import check_valid, save_onnx
from export.convert.precision import write_precision, write_simulation
from export.convert.to_tensorrt import build_engine
from export.convert.type_check import check_types, read_types
from export.runtime.onnx_session import open_session
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import choose_builder
from noah.errors import ExportError
from tests.export.small_vit import random_images, write_small_vit


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("export.convert.onnx_files.PROTOBUF_LIMIT", 10_000)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_weights_beyond_the_limit_stay_beside_the_file_through_every_step(tmp_path: Path, small_limit: None) -> None:
    usual, folder, images = tmp_path / "usual.onnx", tmp_path / "large", random_images(3)
    folder.mkdir()
    path = folder / "model.onnx"
    write_small_vit(path, "fp16")
    assert names(folder) == {"model.onnx", "model.onnx.data"}
    full = (folder / "model.onnx.data").stat().st_size
    write_precision(path, "fp16")
    assert (folder / "model.onnx.data").stat().st_size < 0.7 * full  # written anew, not added to
    write_metadata(path, {CLASSES: ["a"]})
    check_valid(path)
    check_types(read_types(path), "fp16")
    assert read_metadata(path) == {CLASSES: ["a"]}
    found = open_session(path, provider="cpu", threads=1).run(images)
    write_simulation(path, tmp_path / "simulated.onnx", "fp16")
    simulated = open_session(tmp_path / "simulated.onnx", provider="cpu", threads=1).run(images)
    assert found == pytest.approx(simulated, rel=2e-2, abs=1e-2)
    build_engine(path, tmp_path / "e", choose_builder("fp16", ("sm89",)), Profile(1, 2, 4), "fp16", tmp_path / "cache")
    assert names(folder) == {"model.onnx", "model.onnx.data"}

    onnx.save(onnx.load(path), usual)
    assert (open_session(usual, provider="cpu", threads=1).run(images) == found).all()


def test_a_small_model_takes_the_place_of_a_large_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    monkeypatch.setattr("export.convert.onnx_files.PROTOBUF_LIMIT", 10_000)
    write_small_vit(path)
    model = onnx.load(path)
    monkeypatch.undo()
    save_onnx(model, path)
    assert names(tmp_path) == {"model.onnx"}
    check_valid(path)


def test_what_is_no_model_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError) as raised:
        check_valid(tmp_path / "m.onnx", "Try again.")
    assert raised.value.problem.startswith("onnx.checker refuses the file: ")
    assert "\n" not in raised.value.problem
    assert raised.value.hint == "Try again."
