"""Engines of a searched run: real ones, built here; run where a GPU is, refused with a reason where not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.artifact.manifest import check_files, read_manifest
from export.artifact.records import EngineRecord
from export.formats.load import load_predictor
from export.runtime import engine as engine_module
from export.runtime.engine import batches, open_engine, why_not_run
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import load_package
from noah.errors import ArtifactError, UsageError
from noah.hardware.gpu import why_no_gpu
from tests.finished import ENGINES, Finished

needs_no_gpu = pytest.mark.skipif(not why_no_gpu(), reason="a GPU is here")
needs_a_gpu = pytest.mark.skipif(bool(why_no_gpu()), reason=why_no_gpu() or "none")
TYPES = {"trt-fp16": ("fp16", "HALF", "float16"), "trt-bf16-uint8": ("bf16", "BF16", "bfloat16")}


@pytest.mark.parametrize("name", ENGINES)
def test_the_manifest_says_what_the_engine_is(engines: Finished, name: str) -> None:
    folder = engines.artifact(name)
    precision, layer_type, onnx_type = TYPES[name]
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    assert {path.name for path in folder.iterdir()} == {*manifest.files, "manifest.json", "model_card.md"}
    assert set(manifest.files) == {"model.onnx", "model.engine", "predict.py", "requirements.txt"}
    assert (manifest.format, manifest.precision) == ("trt", precision)
    assert set(manifest.types["MatMul"]) == set(manifest.types["Conv"]) == {onnx_type}
    assert set(manifest.types["LayerNormalization"]) == set(manifest.types["Softmax"]) == {"float32"}
    engine = manifest.engine
    assert engine is not None
    assert (engine.package, engine.targets) == ("tensorrt-rtx", ("sm89",))
    assert engine.version == load_package("tensorrt-rtx").__version__
    assert engine.profile.model_dump() == {"minimum": 1, "optimum": 4, "maximum": 20}
    assert set(engine.layers["MATRIX_MULTIPLY"]) == {layer_type}
    assert set(engine.layers["NORMALIZATION"]) == set(engine.layers["SOFTMAX"]) == {"FLOAT"}
    assert [tensor.type for tensor in (*engine.inputs, *engine.outputs)] == [manifest.input.type, "float32"]
    assert [batch.batch for batch in manifest.parity[0].batches] == [1, 4, 20]
    assert manifest.parity[0].images == "18 validation images of shapes, repeated up to a batch of 20"


@needs_no_gpu
@pytest.mark.parametrize("name", ENGINES)
def test_that_no_engine_was_run_is_in_the_manifest_and_was_told(engines: Finished, name: str) -> None:
    engine = read_manifest(engines.artifact(name)).engine
    assert engine is not None
    assert engine.verified == f"not run here: {why_no_gpu()}"
    assert all(parity.runs_on.startswith("onnxruntime ") for parity in read_manifest(engines.artifact(name)).parity)
    assert f"The engine was not run here: {why_no_gpu()}. Its ONNX file was checked." in engines.outcomes[name].words


@needs_no_gpu
def test_without_a_gpu_the_error_says_so_and_what_to_use_instead(engines: Finished) -> None:
    folder = engines.artifact(ENGINES[0])
    for path in (folder, folder / "model.engine"):
        with pytest.raises(ArtifactError) as raised:
            load_predictor(path)
        assert raised.value.problem == (
            f"{folder / 'model.engine'} is a TensorRT engine, which needs an NVIDIA GPU, but {why_no_gpu()}."
        )
        assert "model.onnx beside it" in raised.value.hint
        assert f"noah export --format onnx --run {engines.run}" in raised.value.hint


def test_the_onnx_file_beside_an_engine_runs(engines: Finished) -> None:
    predictor = load_predictor(engines.artifact(ENGINES[0]) / "model.onnx", provider="cpu")
    pixels = np.zeros((3, 32, 32, 3), np.uint8)
    assert predictor.run(pixels).shape == (3, 3)
    assert predictor.name == "trt-fp16.model.onnx"


def test_a_bf16_file_says_why_the_cpu_does_not_run_it(engines: Finished) -> None:
    with pytest.raises(ArtifactError) as raised:
        load_predictor(engines.artifact(ENGINES[1]) / "model.onnx", provider="cpu")
    assert raised.value.problem.endswith("is in bf16, and onnxruntime's CPUExecutionProvider has no bf16 convolution.")
    assert raised.value.hint.endswith(f"noah export --format onnx --precision fp32 --run {engines.run}")


def test_an_engine_takes_no_provider(engines: Finished) -> None:
    with pytest.raises(UsageError, match=r"--provider cpu is for ONNX files, and .*model\.engine is an engine"):
        load_predictor(engines.artifact(ENGINES[0]), provider="cpu")


def test_a_damaged_engine_is_refused_before_anything_else(engines: Finished, tmp_path: Path) -> None:
    copied = engines.copy(tmp_path / "copy")
    file = copied.artifact(ENGINES[0]) / "model.engine"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.engine was changed or damaged"):
        load_predictor(file)


@pytest.fixture
def record(engines: Finished, monkeypatch: pytest.MonkeyPatch) -> EngineRecord:
    """An engine's record on a machine with a GPU of its target."""
    monkeypatch.setattr(engine_module, "why_no_gpu", lambda: "")
    monkeypatch.setattr(engine_module, "gpu_name_and_target", lambda: ("NVIDIA L4", "sm89"))
    found = read_manifest(engines.artifact(ENGINES[0])).engine
    assert found is not None
    return found


def test_another_gpu_is_told_with_the_command_for_it(record: EngineRecord, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not_run(record) == ""
    monkeypatch.setattr(engine_module, "gpu_name_and_target", lambda: ("NVIDIA A10", "sm86"))
    with pytest.raises(ArtifactError) as raised:
        open_engine(Path("model.engine"), record)
    assert raised.value.problem == "model.engine does not run here: it was built for sm89, but NVIDIA A10 is sm86."
    assert raised.value.hint == "Export for this GPU: noah export --format trt --target sm86"


def test_a_gpu_that_tensorrt_rtx_does_not_build_for_is_told_with_the_package_that_does(
    record: EngineRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "gpu_name_and_target", lambda: ("NVIDIA H200", "sm90"))
    with pytest.raises(ArtifactError) as raised:
        open_engine(Path("model.engine"), record)
    assert raised.value.hint == (
        "Export for this GPU: pip install tensorrt, as tensorrt-rtx builds none for sm90, and then "
        "noah export --format trt"
    )


def test_another_version_of_the_package_is_told(record: EngineRecord) -> None:
    other = record.model_copy(update={"version": "1.0.0"})
    with pytest.raises(ArtifactError) as raised:
        open_engine(Path("model.engine"), other)
    assert raised.value.problem.startswith("model.engine was built by tensorrt-rtx 1.0.0, but ")
    assert raised.value.hint.endswith("pip install tensorrt-rtx==1.0.0")


@needs_no_gpu
def test_an_engine_that_the_driver_does_not_load_is_told(record: EngineRecord, engines: Finished) -> None:
    file = engines.artifact(ENGINES[0]) / "model.engine"
    with pytest.raises(ArtifactError, match=r"model\.engine cannot be loaded: .*(driver|CUDA|Cuda)"):
        open_engine(file, record)


@needs_a_gpu
def test_an_engine_gives_what_its_onnx_file_gives(engines: Finished) -> None:
    """Where a GPU of another kind than the fixture's is, the parity of an export for it says the same."""
    folder = engines.artifact(ENGINES[0])
    if why_not_run(read_manifest(folder).engine):  # type: ignore[arg-type]  # an artifact of format trt has one
        pytest.skip("the GPU here is no target of the fixture")
    pixels = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    found = load_predictor(folder).run(pixels)
    expected = load_predictor(folder / "model.onnx", provider="cpu").run(pixels)
    assert np.abs(found - expected).max() < 2e-2 * np.abs(expected).max()


def test_what_running_an_engine_calls_is_there() -> None:
    """Nothing else here can run these names without a driver."""
    trt: Any = load_package("tensorrt-rtx")
    for name in ("set_input_shape", "set_tensor_address", "execute_async_v3"):
        assert hasattr(trt.IExecutionContext, name)
    assert hasattr(trt.ICudaEngine, "create_execution_context")


@given(count=st.integers(0, 60), sizes=st.lists(st.integers(1, 20), min_size=3, max_size=3).map(sorted))
def test_batches_stay_inside_the_profile_and_cover_every_image_once(count: int, sizes: list[int]) -> None:
    profile = Profile(*sizes)
    covered: list[int] = []
    for rows, counting in batches(count, profile):
        assert profile.minimum <= len(rows) <= profile.maximum
        assert set(rows[counting:].tolist()) <= {rows[counting - 1]}
        covered += rows[:counting].tolist()
    assert covered == list(range(count))
