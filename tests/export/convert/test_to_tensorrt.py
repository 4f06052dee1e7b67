"""Real engines, built by the installed tensorrt-rtx: what they are made of, and how a build fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.artifact.records import EngineProfile, EngineTensor, Precision
from export.convert.precision import write_precision
from export.convert.to_tensorrt import build_engine
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import choose_builder
from noah.errors import ExportError
from tests.export.small_vit import CLASSES, SIZE, write_small_vit

PROFILE = Profile(2, 4, 16)
LAYER_TYPES = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16"}
RTX = choose_builder("fp16", ("sm89", "sm120"))


def small_file(folder: Path, precision: Precision, *, raw_pixels: bool = False) -> Path:
    path = folder / "model.onnx"
    write_small_vit(path, precision, raw_pixels=raw_pixels)
    write_precision(path, precision)
    return path


@pytest.mark.parametrize(("precision", "raw_pixels"), [("fp16", True), ("bf16", False), ("fp32", False)])
def test_an_engine_is_what_was_asked_for(tmp_path: Path, precision: Precision, raw_pixels: bool) -> None:
    model, engine, cache = small_file(tmp_path, precision, raw_pixels=raw_pixels), tmp_path / "e", tmp_path / "cache"
    record = build_engine(model, engine, RTX, PROFILE, precision, cache)
    assert engine.stat().st_size > 10_000
    low = LAYER_TYPES[precision]
    assert set(record.layers) == {"CONVOLUTION", "MATRIX_MULTIPLY", "NORMALIZATION", "SOFTMAX"}
    assert set(record.layers["MATRIX_MULTIPLY"]) == set(record.layers["CONVOLUTION"]) == {low}
    assert record.layers["NORMALIZATION"] == {"FLOAT": 5}
    assert record.layers["SOFTMAX"] == {"FLOAT": 2}
    shape = (-1, SIZE, SIZE, 3) if raw_pixels else (-1, 3, SIZE, SIZE)
    assert record.inputs == (EngineTensor(name="images", type="uint8" if raw_pixels else "float32", shape=shape),)
    assert record.outputs == (EngineTensor(name="logits", type="float32", shape=(-1, CLASSES)),)
    assert record.profile == EngineProfile(minimum=2, optimum=4, maximum=16)
    assert record.targets == ("sm89", "sm120")
    assert (record.package, record.version, record.reason) == (RTX.package, RTX.version, RTX.reason)
    assert record.timing_cache == "none: tensorrt-rtx measures nothing while it builds"
    assert not cache.exists()
    assert 0 < record.build_seconds < 120
    assert record.verified == "not run here"


def test_half_precision_makes_a_smaller_engine(tmp_path: Path) -> None:
    sizes = {}
    for precision in ("fp32", "fp16"):
        engine = tmp_path / precision
        build_engine(small_file(tmp_path, precision), engine, RTX, PROFILE, precision, tmp_path / "cache")
        sizes[precision] = engine.stat().st_size
    assert sizes["fp16"] < sizes["fp32"]


def test_a_network_in_another_precision_fails_the_check_of_types(tmp_path: Path) -> None:
    model = small_file(tmp_path, "fp16")
    with pytest.raises(ExportError) as raised:
        build_engine(model, tmp_path / "e", RTX, PROFILE, "bf16", tmp_path / "cache")
    assert raised.value.problem == (
        "The typed network fails the type check: 1 layers of kind CONVOLUTION return HALF, but bf16 needs BF16."
    )
    assert not (tmp_path / "e").exists()


def test_an_error_of_the_parser_is_told_whole_with_its_node(tmp_path: Path) -> None:
    """TensorRT takes uint8 as an input only to cast it, and this graph transposes it first."""
    graph = helper.make_graph(
        [
            helper.make_node("Transpose", ["images"], ["planes"], name="planes_first", perm=[0, 2, 1]),
            helper.make_node("Cast", ["planes"], ["values"], name="widen", to=TensorProto.FLOAT),
            helper.make_node("MatMul", ["values", "matrix"], ["logits"], name="product"),
        ],
        "transposed",
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 3, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2, 2])],
        [numpy_helper.from_array(np.ones((3, 2), np.float32), "matrix")],
    )
    path = tmp_path / "transposed.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)
    with pytest.raises(ExportError) as raised:
        build_engine(path, tmp_path / "e", RTX, PROFILE, "fp32", tmp_path / "cache")
    problem = raised.value.problem
    assert problem.startswith("TensorRT's parser refuses transposed.onnx: node 0 'planes_first' (Transpose): ")
    assert "first input has type UInt8" in problem
    assert "[INVALID_NODE, ModelImporter.cpp:" in problem
    assert "\n" not in problem
    assert raised.value.hint.endswith("noah export --format onnx")


def test_an_error_of_the_builder_is_told(tmp_path: Path) -> None:
    """The command line refuses bf16 for Turing; whoever gets past it hears TensorRT's own reason."""
    builder = replace(RTX, targets=("sm75",))
    with pytest.raises(ExportError) as raised:
        build_engine(small_file(tmp_path, "bf16"), tmp_path / "e", builder, PROFILE, "bf16", tmp_path / "cache")
    assert raised.value.problem.startswith(f"tensorrt-rtx {RTX.version} cannot build the engine: ")
    assert "sm75" in raised.value.problem
    assert not (tmp_path / "e").exists()
