"""Exporting a run: the artifact is proved before it gets its name, and the proof can fail."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import export.write.onnx_artifact
from export.artifact.manifest import check_files, read_manifest
from export.artifact.metadata import CLASSES, PREPROCESSING, SUBNET, read_metadata
from export.artifact.records import Precision, Values
from export.checks.belonging import check_artifacts
from export.formats.load import load_predictor
from export.formats.registry import FORMATS
from export.runtime.onnx_session import OpenSession, open_session
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import choose_builder
from export.write.request import Input, Request
from noah.api.exporting import export_run, plan_export
from noah.errors import ExportError, ParityError
from noah.prepare.context import Materials, prepare
from noah.progress import Detail, Silent
from noah.runs.export_command import export_command
from noah.runs.folder import Run
from noah.runs.seals import artifact_place, hash_file, seal_path
from noah.training.checkpoint_file import CHECKPOINT_FILE
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


def a_large_weight(weights: dict[str, np.ndarray]) -> None:
    """A flipped bit of the exponent, as a broken memory makes it."""
    one(weights, (64, 192))[3, 100] += 64


def two_classes_swapped(weights: dict[str, np.ndarray]) -> None:
    for shape in ((3, 64), (3,)):
        value = one(weights, shape)
        value[[0, 2]] = value[[2, 0]]


@pytest.fixture
def written_as_before(project: Finished, monkeypatch: pytest.MonkeyPatch) -> Callable[[Change | None], None]:
    """Lets the next export write the run's finished ONNX file, changed or not; saves the seconds of the exporter."""
    good = project.artifact() / "model.onnx"
    kept = shutil.copy(good, project.folder / "kept.onnx")

    def arrange(change: Change | None) -> None:
        def write(_: object, path: Path, **__: object) -> None:
            shutil.copy(kept, path)
            if change:
                change_weights(path, change)

        monkeypatch.setattr(export.write.onnx_artifact, "write_onnx", write)

    return arrange


def assert_refused(project: Finished, outcome: Outcome, before: dict[str, bytes], check: str) -> None:
    """The command failed in two lines that name the check, and the earlier artifacts are there, whole and alone."""
    assert outcome.code == 1
    assert len(outcome.error_lines) == 2
    assert outcome.error_lines[0].startswith(f"Error: The exported model fails the {check}")
    assert file_contents(project.run / "export") == before
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8]


@pytest.mark.parametrize(
    ("change", "check"),
    [
        (patch_embedding, "check of the largest difference"),
        (last_weight, "check of the largest difference"),
        (not_a_number, "value check"),
        (two_classes_swapped, "check of the largest difference"),
    ],
)
def test_a_wrong_file_is_caught_and_the_earlier_artifact_stays(
    project: Finished, written_as_before: Callable[[Change | None], None], change: Change, check: str
) -> None:
    before = file_contents(project.run / "export")
    written_as_before(change)
    assert_refused(project, noah("export", "--format", "onnx"), before, check)


@pytest.mark.parametrize("change", [a_large_weight, two_classes_swapped])
def test_a_wrong_file_in_half_precision_is_caught(
    project: Finished, written_as_before: Callable[[Change | None], None], change: Change
) -> None:
    before = file_contents(project.run / "export")
    written_as_before(change)
    outcome = noah("export", "--format", "onnx", "--precision", "fp16")
    assert_refused(project, outcome, before, "check of the largest difference")


def test_a_file_in_another_precision_than_asked_is_caught(
    project: Finished, written_as_before: Callable[[Change | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_contents(project.run / "export")
    written_as_before(None)
    monkeypatch.setattr(export.write.onnx_artifact, "write_precision", lambda *_: None)
    assert_refused(project, noah("export", "--precision", "fp16"), before, "type check: Conv is in float32 (count: 1)")


def test_two_labels_that_were_swapped_are_caught(
    project: Finished, written_as_before: Callable[[Change | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_contents(project.run / "export")
    written_as_before(None)
    write = export.write.onnx_artifact.metadata.write_metadata

    def write_swapped(path: Path, notes: dict[str, Any]) -> None:
        first, second, *others = notes[CLASSES]
        write(path, {**notes, CLASSES: [second, first, *others]})

    monkeypatch.setattr(export.write.onnx_artifact.metadata, "write_metadata", write_swapped)
    outcome = noah("export", "--format", "onnx")
    assert_refused(project, outcome, before, "label check: it calls class 0 'square' instead of 'circle'.")


def test_labels_that_are_swapped_in_the_manifest_later_are_caught_by_those_of_the_file(project: Finished) -> None:
    path = project.artifact() / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["classes"][:2] = reversed(manifest["classes"][:2])
    path.write_text(json.dumps(manifest))
    outcome = noah("predict", project.artifact(), project.folder)
    assert outcome.code == 1
    assert "its labels differ: it calls class 0 'circle' instead of 'square'." in outcome.error_lines[0]


def test_a_wrong_file_leaves_nothing_where_nothing_was(
    project: Finished, written_as_before: Callable[[Change | None], None]
) -> None:
    shutil.rmtree(project.run / "export")
    written_as_before(last_weight)
    assert noah("export", "--format", "onnx").code == 1
    assert list((project.run / "export").iterdir()) == []


def test_the_right_file_passes_and_replaces_the_earlier_artifact(
    project: Finished, written_as_before: Callable[[Change | None], None]
) -> None:
    (project.artifact() / "manifest.json").write_text("old")
    written_as_before(None)
    assert noah("export", "--format", "onnx").code == 0
    check_files(read_manifest(project.artifact()), project.artifact())
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8]


def test_a_forgotten_normalization_is_caught(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    before = file_contents(project.run / "export")
    merge = export.write.onnx_artifact.merge

    def merge_without(*arguments: Any, raw_pixels: object) -> object:
        assert raw_pixels
        return merge(*arguments, raw_pixels=((0.0,) * 3, (1.0,) * 3))

    monkeypatch.setattr(export.write.onnx_artifact, "merge", merge_without)
    outcome = noah("export", "--format", "onnx", "--input", "uint8")
    assert_refused(project, outcome, before, "check of the largest difference")


@pytest.mark.parametrize("fault", [KeyboardInterrupt, MemoryError])
def test_an_export_that_is_cut_off_leaves_nothing(
    project: Finished, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException]
) -> None:
    def write(_: object, path: Path, **__: object) -> None:
        path.write_bytes(b"half a model")
        raise fault

    before = file_contents(project.run / "export")
    monkeypatch.setattr(export.write.onnx_artifact, "write_onnx", write)
    run = Run(project.run)
    with pytest.raises(fault):
        FORMATS["onnx"].write(run, prepare(run.settings(), Silent()), Silent(), Request())
    assert file_contents(project.run / "export") == before
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8]


def test_an_artifact_that_cannot_be_moved_leaves_the_earlier_one(
    project: Finished, written_as_before: Callable[[Change | None], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_contents(project.run / "export")
    run = Run(project.run)
    seal = seal_path(run, artifact_place(FLOAT)).read_bytes()
    written_as_before(None)
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.suffix == ".tmp":
            raise PermissionError(13, "Permission denied")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(ExportError, match=r"cannot be moved to .*: Permission denied"):
        FORMATS["onnx"].write(run, prepare(run.settings(), Silent()), Silent(), Request())
    assert file_contents(project.run / "export") == before
    assert seal_path(run, artifact_place(FLOAT)).read_bytes() == seal  # not that of what lies there


def test_another_name(project: Finished, written_as_before: Callable[[Change | None], None]) -> None:
    written_as_before(None)
    run = Run(project.run)
    folder = FORMATS["onnx"].write(run, prepare(run.settings(), Silent()), Silent(), Request(name="mine"))
    assert folder == project.run / "export" / "mine"
    assert read_manifest(folder) == read_manifest(project.artifact())
    last = json.loads((project.run / "log.jsonl").read_text().splitlines()[-1])
    assert (last["stage"], last["name"]) == ("export", "mine")


@pytest.fixture
def materials(finished: Finished) -> Materials:
    return prepare(Run(finished.run).settings(), Silent())


@pytest.mark.parametrize("name", [FLOAT, UINT8])
def test_the_manifest_describes_the_artifact(finished: Finished, materials: Materials, name: str) -> None:
    folder = finished.artifact(name)
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    assert (
        {path.name for path in folder.iterdir()}
        == {"manifest.json", "model_card.md", *manifest.files}
        == {"manifest.json", "model_card.md", "model.onnx", "predict.py", "requirements.txt"}
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
    assert manifest.types["MatMul"].keys() == manifest.types["LayerNormalization"].keys() == {"float32"}
    assert {"noah", "torch", "onnx"} <= set(manifest.versions)


@pytest.mark.parametrize("name", [FLOAT, UINT8])
def test_the_onnx_file_carries_what_is_needed_without_the_manifest(finished: Finished, name: str) -> None:
    notes, manifest = read_metadata(finished.artifact(name) / "model.onnx"), read_manifest(finished.artifact(name))
    assert tuple(notes[CLASSES]) == manifest.classes
    assert notes[PREPROCESSING] == manifest.preprocessing
    assert notes[SUBNET] == manifest.subnet.model_dump(mode="json")


@pytest.mark.parametrize("name", [FLOAT, UINT8])
def test_the_manifest_holds_the_proof_on_real_images(finished: Finished, name: str) -> None:
    parity, _ = read_manifest(finished.artifact(name)).parity  # and that of predict.py
    assert (parity.method, parity.runs_on) == ("run", "onnxruntime CPUExecutionProvider")
    assert parity.images == "18 validation images of shapes, repeated up to a batch of 32"
    assert parity.reference == "the unmerged torch subnet, float32, CPU"
    assert [batch.batch for batch in parity.batches] == [1, 2, 32]
    assert all(
        0 < batch.mean_difference < batch.max_difference < 1e-5 for batch in parity.batches
    )  # float rounding, which is never quite 0
    assert all(batch.top1_agreement == 1 for batch in parity.batches)


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (Request(), "onnx-fp32"),
        (Request(precision="bf16", input="uint8", values="probabilities"), "onnx-bf16-uint8-probabilities"),
        (Request(format="trt", precision="fp16"), "trt-fp16"),
        (Request(name="mine"), "mine"),
    ],
)
def test_names_of_artifacts(request_: Request, name: str) -> None:
    assert request_.folder_name == name


def test_every_name_tells_the_command_that_writes_the_artifact_again() -> None:
    choices = (FORMATS, get_args(Precision), get_args(Input), get_args(Values), (None, 112))
    for format_, precision, input_, values, size in itertools.product(*choices):
        asked = Request(format=format_, precision=precision, input=input_, values=values, input_size=size)
        options = [f"--format {format_} --precision {precision}"]
        options += [f"--input {input_}"] if input_ != "float" else []
        options += [f"--output {values}"] if values != "logits" else []
        options += [f"--input-size {size}"] if size else []
        again = export_command(Path("runs/photos/first"), asked.folder_name)
        assert again == f"noah export {' '.join(options)} --run photos/first"


@pytest.fixture(scope="module", params=["fp16", "bf16"])
def half(request: pytest.FixtureRequest, finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact in half precision that gives probabilities."""
    copied = finished.copy(tmp_path_factory.mktemp(request.param))
    run = Run(copied.run)
    asked = Request(precision=request.param, values="probabilities", profile=Profile(1, 5, 9))
    return FORMATS["onnx"].write(run, prepare(run.settings(), Silent()), Silent(), asked)


def test_a_half_precision_artifact_is_simulated_and_run_where_the_cpu_can(half: Path) -> None:
    manifest = read_manifest(half)
    simulated, *run, program = manifest.parity
    assert simulated.method == "simulated"
    assert simulated.runs_on == (
        f"onnxruntime CPUExecutionProvider: the same graph in float32, every weight and result rounded to "
        f"{manifest.precision}"
    )
    assert [parity.method for parity in run] == (["run"] if manifest.precision == "fp16" else [])
    assert program.method == ("run" if manifest.precision == "fp16" else "simulated")
    for parity in manifest.parity[:-1]:
        assert (parity.values, [batch.batch for batch in parity.batches]) == ("probabilities", [1, 5, 9])
        assert all(0 < batch.max_difference < parity.tolerance.max_difference for batch in parity.batches)
    assert manifest.opset == (20 if manifest.precision == "fp16" else 22)
    assert (manifest.output.name, manifest.output.values) == ("probabilities", "probabilities")


def test_probabilities_add_up_and_are_those_of_the_logits(half: Path, finished: Finished) -> None:
    if read_manifest(half).precision == "bf16":
        pytest.skip("the CPU provider has no bf16 convolution")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    found = load_predictor(half, provider="cpu").run(pixels)
    assert found.sum(axis=1) == pytest.approx(1, abs=1e-3)
    expected = load_predictor(finished.artifact(), provider="cpu").probabilities(pixels)
    assert np.abs(found - expected).max() < 5e-2


def export_engine_beside_a_gpu(project: Finished, monkeypatch: pytest.MonkeyPatch, change: float) -> Path:
    """Export for sm89 as if a GPU ran the engine; the ONNX file stands in for it, its outputs times `change`."""

    def open_instead(file: Path, _: object) -> Any:
        class Engine(OpenSession):
            def run(self, values: np.ndarray) -> np.ndarray:
                return super().run(values) * np.float32(change)

        opened = open_session(file.with_name("model.onnx"), provider="cpu")
        return Engine(opened.session, "tensorrt-rtx on a GPU", "the test says so")

    monkeypatch.setattr("export.write.engine.why_not_run", lambda _: "")
    monkeypatch.setattr("export.write.engine.open_engine", open_instead)
    run = Run(project.run)
    builder = choose_builder("fp16", ("sm89",))
    asked = Request(format="trt", precision="fp16", profile=Profile(1, 2, 4), builder=builder)
    return FORMATS["trt"].write(run, prepare(run.settings(), Silent()), Silent(), asked)


def test_where_a_gpu_is_the_engine_is_proved_too(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = read_manifest(export_engine_beside_a_gpu(project, monkeypatch, 1.0))
    assert manifest.engine is not None
    assert manifest.engine.verified == "run by tensorrt-rtx on a GPU"
    assert [parity.method for parity in manifest.parity] == ["simulated", "run", "run", "run"]
    assert manifest.parity[-2].runs_on == "tensorrt-rtx on a GPU"


def test_an_engine_that_computes_something_else_is_refused(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ParityError, match="fails the check of the largest difference: at batch 1"):
        export_engine_beside_a_gpu(project, monkeypatch, 1.05)
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8]


@pytest.mark.parametrize("name", ["onnx", "safetensors"])
def test_an_artifact_names_the_weights_that_it_holds_though_others_come_meanwhile(project: Finished, name: str) -> None:
    """As when a retraining ends while int8 is calibrated."""
    run = Run(project.run)
    checkpoint = run.path("retrain", CHECKPOINT_FILE)
    exported = hash_file(checkpoint)

    class Retraining(Silent):
        def say(self, text: str) -> None:
            self.replace()

        def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
            self.replace()

        def replace(self) -> None:
            if any(run.path("export").glob(".*.tmp")) and hash_file(checkpoint) == exported:
                checkpoint.write_bytes(checkpoint.read_bytes() + b"other weights")

    folder = export_run(run, plan_export(name), Retraining())
    assert hash_file(checkpoint) != exported
    assert read_manifest(folder).run.weights == exported
    (check,) = (each for each in check_artifacts(run) if each.what == f"artifact {folder.name}")
    assert check.state == "failed"
