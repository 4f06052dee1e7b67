"""Half precision in the file: what is lowered, what is not, and that it still is the same network."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import pytest
import torch
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.artifact.records import Precision
from export.convert.onnx_files import check_valid
from export.convert.precision import OLDEST_OPSETS, PRECISIONS, to_precision, write_precision, write_simulation
from export.convert.type_check import check_types, read_types
from export.runtime.onnx_session import open_session
from noah.errors import ExportError
from tests.export.small_vit import random_images, write_small_vit

LOW: tuple[Precision, ...] = ("fp16", "bf16")
NAMES = {"fp16": "float16", "bf16": "bfloat16"}


@pytest.fixture(scope="module", params=LOW)
def low(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Precision, Path]:
    """A precision and a small file in it."""
    path = tmp_path_factory.mktemp(request.param) / "model.onnx"
    write_small_vit(path, request.param)
    write_precision(path, request.param)
    return request.param, path


def test_products_are_low_and_norms_and_softmax_are_not(low: tuple[Precision, Path]) -> None:
    precision, path = low
    check_valid(path)
    found = read_types(path)
    check_types(found, precision)
    assert found["Conv"] == {NAMES[precision]: 1}
    assert set(found["MatMul"]) == set(found["Gemm"]) == {NAMES[precision]}
    assert found["LayerNormalization"] == {"float32": 5}
    assert found["Softmax"] == {"float32": 2}
    assert found["input"] == found["output"] == {"float32": 1}
    assert found["weights"]["float32"] == 10  # scale and shift of five norms


def test_weights_are_the_nearest_of_the_low_type(low: tuple[Precision, Path], tmp_path: Path) -> None:
    precision, path = low
    write_small_vit(tmp_path / "model.onnx", precision)
    full = {tensor.name: tensor for tensor in onnx.load(tmp_path / "model.onnx").graph.initializer}
    dtype = {"fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    seen = 0
    for tensor in onnx.load(path).graph.initializer:
        name = tensor.name.removesuffix(f".{precision}")
        if name != tensor.name:
            expected = torch.tensor(numpy_helper.to_array(full[name])).to(dtype).float().numpy()
            assert np.array_equal(numpy_helper.to_array(tensor).astype(np.float32), expected)
            seen += 1
    assert seen > 15


def test_the_outputs_are_those_of_the_torch_network_up_to_rounding(tmp_path: Path) -> None:
    """fp16 in 10 bits, bf16 in 7: eight times as far."""
    images = random_images(32)
    error = {}
    for precision in LOW:
        path, simulation = tmp_path / f"{precision}.onnx", tmp_path / "simulation.onnx"
        model = write_small_vit(path, precision)
        write_precision(path, precision)
        write_simulation(path, simulation, precision)
        with torch.inference_mode():
            expected = model(torch.from_numpy(images)).numpy()
        found = open_session(simulation, provider="cpu", threads=1).run(images)
        error[precision] = float(np.abs(found - expected).max() / np.abs(expected).max())
    assert 1e-5 < error["fp16"] < 5e-3
    assert 4 < error["bf16"] / error["fp16"] < 16


def test_fp16_runs_in_onnxruntime_and_rounds_no_more_than_the_simulation(tmp_path: Path) -> None:
    images = random_images(16)
    model = write_small_vit(tmp_path / "m.onnx", "fp16")
    write_precision(tmp_path / "m.onnx", "fp16")
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    found = open_session(tmp_path / "m.onnx", provider="cpu", threads=1).run(images)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 5e-3 * np.abs(expected).max()


@pytest.mark.parametrize("precision", LOW)
@pytest.mark.parametrize(("raw_pixels", "probabilities"), [(True, False), (False, True)])
def test_inputs_and_outputs_keep_their_types(
    tmp_path: Path, precision: Precision, raw_pixels: bool, probabilities: bool
) -> None:
    path = tmp_path / "model.onnx"
    write_small_vit(path, precision, raw_pixels=raw_pixels, probabilities=probabilities)
    write_precision(path, precision)
    check_valid(path)
    found = read_types(path)
    check_types(found, precision)
    assert found["input"] == {"uint8" if raw_pixels else "float32": 1}
    assert found["output"] == {"float32": 1}


def test_a_tensor_is_cast_once_however_many_read_it(low: tuple[Precision, Path]) -> None:
    nodes = onnx.load(low[1]).graph.node
    casts = [(node.input[0], node.attribute[0].i) for node in nodes if node.op_type == "Cast"]
    assert len(casts) == len(set(casts))


def test_fp32_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    write_small_vit(path)
    before = path.read_bytes()
    write_precision(path, "fp32")
    assert path.read_bytes() == before


def test_every_precision_has_its_tables() -> None:
    assert get_args(Precision) == PRECISIONS == tuple(OLDEST_OPSETS)


def test_bf16_in_an_old_opset_is_not_valid_though_the_plain_check_passes_it(tmp_path: Path) -> None:
    """Why OLDEST_OPSETS says 22, and why the check is the full one."""
    path = tmp_path / "model.onnx"
    write_small_vit(path, "fp16")
    write_precision(path, "bf16")
    onnx.checker.check_model(str(path))
    with pytest.raises(ExportError, match=r"onnx\.checker refuses the file"):
        check_valid(path)


def product(weight: float, kind: str = "MatMul") -> ModelProto:
    """images (batch, 2) times a matrix, with a type for every tensor."""
    graph = helper.make_graph(
        [helper.make_node(kind, ["images", "matrix"], ["logits"], name="product")],
        "product",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 2])],
        [numpy_helper.from_array(np.full((2, 2), weight, np.float32), "matrix")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


def test_a_weight_that_overflows_is_named() -> None:
    assert to_precision(product(65504), "fp16").graph.initializer[0].data_type == TensorProto.FLOAT16
    to_precision(product(1e30), "bf16")
    with pytest.raises(ExportError) as raised:
        to_precision(product(70000), "fp16")
    assert raised.value.problem == "The weight matrix does not fit into fp16: it holds 7e+04."
    assert "--precision bf16" in raised.value.hint


def test_an_overflow_of_a_result_shows_up_in_the_simulation(tmp_path: Path) -> None:
    """onnxruntime's CPU provider computes the fp16 file in float32 and would hide it."""
    onnx.save(to_precision(product(60000), "fp16"), tmp_path / "m.onnx")
    write_simulation(tmp_path / "m.onnx", tmp_path / "s.onnx", "fp16")
    assert np.isinf(open_session(tmp_path / "s.onnx", provider="cpu").run(np.ones((1, 2), np.float32))).all()


def test_a_tensor_without_a_type_and_a_branch_are_refused() -> None:
    model = product(1)
    model.graph.node.append(helper.make_node("Neg", ["logits"], ["unknown"]))
    with pytest.raises(ExportError, match="left the tensor unknown without a type"):
        to_precision(model, "fp16")
    model = product(1)
    branch = helper.make_graph([], "branch", [], [])
    model.graph.node.append(
        helper.make_node("If", ["logits"], ["other"], name="if", then_branch=branch, else_branch=branch)
    )
    with pytest.raises(ExportError, match=r"branches at if \(If\)"):
        to_precision(model, "fp16")
