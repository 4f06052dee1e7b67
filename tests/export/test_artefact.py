"""Exporting a run: the artefact is proved before it gets its name, and the proof can fail."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import export.artefact
from export.artefact import export_onnx
from export.manifest import check_files, read_manifest
from noah.errors import ExportError
from noah.materials import Materials, prepare
from noah.progress import Silent
from noah.runs import Run
from tests.commands import Outcome, file_contents, noah
from tests.conftest import PHOTO_CLASSES
from tests.finished import FLOAT, UINT8, Finished

Change = Callable[[dict[str, np.ndarray]], None]


def change_weights(path: Path, change: Change) -> None:
    """Change the weights of an ONNX file in place."""
    model = onnx.load(path)
    weights = {tensor.name: np.array(numpy_helper.to_array(tensor)) for tensor in model.graph.initializer}
    before = {name: value.copy() for name, value in weights.items()}
    change(weights)
    assert any(not np.array_equal(before[name], weights[name], equal_nan=True) for name in weights)
    for tensor in model.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(weights[tensor.name], tensor.name))
    onnx.save(model, path)


def one(weights: dict[str, np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The first weight of that shape."""
    return next(value for value in weights.values() if value.shape == shape)


def patch_embedding(weights: dict[str, np.ndarray]) -> None:
    one(weights, (64, 3, 16, 16))[5, 1, 3, 3] += 0.5


def last_weight(weights: dict[str, np.ndarray]) -> None:
    one(weights, (3, 64))[1, 7] += 0.01


def not_a_number(weights: dict[str, np.ndarray]) -> None:
    one(weights, (3, 64))[0, 0] = np.nan


def two_classes_swapped(weights: dict[str, np.ndarray]) -> None:
    for shape in ((3, 64), (3,)):
        value = one(weights, shape)
        value[[0, 2]] = value[[2, 0]]


@pytest.fixture
def written_as_before(project: Finished, monkeypatch: pytest.MonkeyPatch) -> Callable[[Change | None], None]:
    """Lets the next export write the run's finished ONNX file, changed or not; saves the seconds of the exporter."""
    good = project.artefact() / "model.onnx"
    kept = shutil.copy(good, project.folder / "kept.onnx")

    def arrange(change: Change | None) -> None:
        def write(_: object, path: Path, **__: object) -> None:
            shutil.copy(kept, path)
            if change:
                change_weights(path, change)

        monkeypatch.setattr(export.artefact, "write_onnx", write)

    return arrange


def assert_refused(project: Finished, outcome: Outcome, before: dict[str, bytes]) -> None:
    """The command failed in two lines, and the earlier artefacts are there, whole and alone."""
    assert outcome.code == 1
    assert len(outcome.error_lines) == 2
    assert outcome.error_lines[0].startswith("Error: The exported model ")
    assert file_contents(project.run / "export") == before
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8]


@pytest.mark.parametrize("change", [patch_embedding, last_weight, not_a_number, two_classes_swapped])
def test_a_wrong_file_is_caught_and_the_earlier_artefact_stays(
    project: Finished, written_as_before: Callable[[Change | None], None], change: Change
) -> None:
    before = file_contents(project.run / "export")
    written_as_before(change)
    assert_refused(project, noah("export", "--format", "onnx"), before)


def test_a_wrong_file_leaves_nothing_where_nothing_was(
    project: Finished, written_as_before: Callable[[Change | None], None]
) -> None:
    shutil.rmtree(project.run / "export")
    written_as_before(last_weight)
    assert noah("export", "--format", "onnx").code == 1
    assert list((project.run / "export").iterdir()) == []


def test_the_right_file_passes_and_replaces_the_earlier_artefact(
    project: Finished, written_as_before: Callable[[Change | None], None]
) -> None:
    (project.artefact() / "manifest.json").write_text("old")
    written_as_before(None)
    assert noah("export", "--format", "onnx").code == 0
    check_files(read_manifest(project.artefact()), project.artefact())
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8]


def test_a_forgotten_normalisation_is_caught(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file_contents(project.run / "export")
    merge = export.artefact.merge

    def merge_without(*arguments: Any, raw_pixels: object) -> object:
        assert raw_pixels
        return merge(*arguments, raw_pixels=((0.0,) * 3, (1.0,) * 3))

    monkeypatch.setattr(export.artefact, "merge", merge_without)
    assert_refused(project, noah("export", "--format", "onnx", "--input", "uint8"), before)


@pytest.mark.parametrize("fault", [KeyboardInterrupt, MemoryError])
def test_an_export_that_is_cut_off_leaves_nothing(
    project: Finished, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    def write(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half a model")
        raise fault

    before = file_contents(project.run / "export")
    monkeypatch.setattr(export.artefact, "write_onnx", write)
    run = Run(project.run)
    with pytest.raises(fault):
        export_onnx(run, prepare(run.settings(), Silent()), Silent(), raw_pixels=False, opset=20)
    assert file_contents(project.run / "export") == before
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8]


def test_an_artefact_that_cannot_be_moved_leaves_the_earlier_one(
    project: Finished, written_as_before: Callable[[Change | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_contents(project.run / "export")
    written_as_before(None)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.suffix == ".tmp":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    run = Run(project.run)
    with pytest.raises(ExportError, match=r"cannot be moved to .*: Permission denied"):
        export_onnx(run, prepare(run.settings(), Silent()), Silent(), raw_pixels=False, opset=20)
    assert file_contents(project.run / "export") == before


def test_another_name(project: Finished, written_as_before: Callable[[Change | None], None]) -> None:
    written_as_before(None)
    run = Run(project.run)
    folder = export_onnx(run, prepare(run.settings(), Silent()), Silent(), raw_pixels=False, opset=20, name="mine")
    assert folder == project.run / "export" / "mine"
    assert read_manifest(folder) == read_manifest(project.artefact())
    last = json.loads((project.run / "log.jsonl").read_text().splitlines()[-1])
    assert (last["stage"], last["name"]) == ("export", "mine")


@pytest.fixture
def materials(finished: Finished) -> Materials:
    return prepare(Run(finished.run).settings(), Silent())


@pytest.mark.parametrize("name", [FLOAT, UINT8])
def test_the_manifest_describes_the_artefact(finished: Finished, materials: Materials, name: str) -> None:
    folder = finished.artefact(name)
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    assert (
        {path.name for path in folder.iterdir()}
        == {"manifest.json", *manifest.files}
        == {"manifest.json", "model.onnx"}
    )
    best = json.loads((finished.run / "search" / "best.json").read_text())
    assert manifest.subnet.model_dump(mode="json") == best["subnet"]
    assert manifest.parameters == best["parameters"]
    assert manifest.classes == PHOTO_CLASSES
    assert manifest.preprocessing == materials.backbone.preprocessing.to_json()
    assert manifest.backbone.arch == "test_vit"
    assert manifest.backbone.image_size == (32, 32)
    assert (manifest.dataset, manifest.precision, manifest.opset) == ("shapes", "fp32", 20)
    assert manifest.input.shape == (("batch", 32, 32, 3) if name == UINT8 else ("batch", 3, 32, 32))
    assert (manifest.input.type, manifest.output.shape) == ("uint8" if name == UINT8 else "float32", ("batch", 3))
    assert {"noah", "torch", "onnx"} <= set(manifest.versions)


@pytest.mark.parametrize("name", [FLOAT, UINT8])
def test_the_manifest_holds_the_proof_on_real_images(finished: Finished, name: str) -> None:
    parity = read_manifest(finished.artefact(name)).parity
    assert parity.images == "18 validation images of shapes"
    assert parity.reference == "the unmerged torch subnet, float32, CPU"
    assert [batch.batch for batch in parity.batches] == [1, 2, 18]
    assert all(0 < batch.max_relative < 1e-5 for batch in parity.batches)  # float rounding, which is never quite 0
    assert all(batch.top1_agreement == 1 for batch in parity.batches)
