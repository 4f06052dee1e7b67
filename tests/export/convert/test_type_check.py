"""Types are read back from the file: what is not as asked is caught by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from export.convert.onnx_products import choose_products
from export.convert.precision import write_precision
from export.convert.quantize import write_int8
from export.convert.type_check import check_types, read_types
from noah.errors import ExportError
from tests.export.small_vit import random_images, write_small_vit


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("half") / "model.onnx"
    write_small_vit(path, "fp16")
    write_precision(path, "fp16")
    return path


def product_in_float32(model: ModelProto) -> None:
    """Widen the first MatMul, as a writer that forgets one would."""
    nodes = model.graph.node
    place, node = next((place, node) for place, node in enumerate(nodes) if node.op_type == "MatMul")
    names = [f"{name}.wide" for name in node.input]
    for name, wide in zip(node.input, names, strict=True):
        nodes.insert(place, helper.make_node("Cast", [name], [wide], to=TensorProto.FLOAT))
    output = node.output[0]
    node.input[:] = names
    node.output[0] = f"{output}.wide"
    nodes.insert(place + 3, helper.make_node("Cast", [f"{output}.wide"], [output], to=TensorProto.FLOAT16))


def softmax_in_half(model: ModelProto) -> None:
    """Let softmax read what its cast reads, and drop the cast behind it."""
    nodes = model.graph.node
    softmax = next(node for node in nodes if node.op_type == "Softmax")
    before = next(node for node in nodes if softmax.input[0] in node.output)
    behind = next(node for node in nodes if softmax.output[0] in node.input)
    softmax.input[0] = before.input[0]
    softmax.output[0] = behind.output[0]
    nodes.remove(behind)


def output_in_half(model: ModelProto) -> None:
    last = model.graph.node.pop()
    assert last.op_type == "Cast"
    for node in model.graph.node:
        node.output[:] = ["logits" if name == last.input[0] else name for name in node.output]
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT16


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (product_in_float32, "MatMul is in float32 (count: 1), but fp16 needs float16"),
        (softmax_in_half, "Softmax is in float16 (count: 1), but fp16 needs float32"),
        (output_in_half, "output is in float16 (count: 1), but fp16 needs float32"),
    ],
)
def test_what_is_not_as_asked_is_caught(
    half: Path, tmp_path: Path, change: Callable[[ModelProto], None], problem: str
) -> None:
    model = onnx.load(half)
    change(model)
    path = tmp_path / "changed.onnx"
    onnx.save(model, path)
    with pytest.raises(ExportError) as raised:
        check_types(read_types(path), "fp16")
    assert raised.value.problem == f"The exported model fails the type check: {problem}."


def test_another_precision_than_asked_is_caught(half: Path, tmp_path: Path) -> None:
    found = read_types(half)
    check_types(found, "fp16")
    with pytest.raises(ExportError, match=r"Conv is in float16 \(count: 1\), but fp32 needs float32"):
        check_types(found, "fp32")
    with pytest.raises(ExportError, match=r"Conv is in float16 \(count: 1\), but bf16 needs bfloat16"):
        check_types(found, "bf16")
    write_small_vit(tmp_path / "full.onnx")
    with pytest.raises(ExportError, match=r"Conv is in float32 \(count: 1\), but fp16 needs float16"):
        check_types(read_types(tmp_path / "full.onnx"), "fp16")


def test_types_that_contradict_one_another(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["images", "matrix"], ["logits"])],
        "mixed",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT16, ["batch", 2])],
        [numpy_helper.from_array(np.ones((2, 2), np.float32), "matrix")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]), tmp_path / "m.onnx")
    with pytest.raises(ExportError, match=r"The types of m\.onnx contradict one another"):
        read_types(tmp_path / "m.onnx")


@pytest.fixture(scope="module")
def eight_bits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    write_small_vit(folder / "full.onnx")
    products = choose_products(onnx.load(folder / "full.onnx"), gemm=True, exclude_last_block=False)
    batches = [{"images": random_images(4)}]
    write_int8(folder / "full.onnx", folder / "model.onnx", products, batches, calibration="minmax", symmetric=False)
    return folder / "model.onnx"


def weight_in_float32(model: ModelProto) -> None:
    """Let the first quantized product read its weight in float32, as a tool that skips one would."""
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    weights = next(node for node in model.graph.node if product.input[1] in node.output)
    shape = next(tensor.dims for tensor in model.graph.initializer if tensor.name == weights.input[0])
    model.graph.node.remove(weights)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), weights.output[0]))


def activation_in_float32(model: ModelProto) -> None:
    """Let the first quantized product read its activation in float32."""
    product = next(node for node in model.graph.node if node.op_type == "MatMul")
    restored = next(node for node in model.graph.node if product.input[0] in node.output)
    rounded = next(node for node in model.graph.node if restored.input[0] in node.output)
    product.input[0] = rounded.input[0]


@pytest.mark.parametrize(("change", "products", "weights"), [(weight_in_float32, 7, 7), (activation_in_float32, 7, 8)])
def test_a_product_that_was_not_quantized_is_caught(
    eight_bits: Path, tmp_path: Path, change: Callable[[ModelProto], None], products: int, weights: int
) -> None:
    check_types(read_types(eight_bits), "int8", 8)
    model = onnx.load(eight_bits)
    change(model)
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(ExportError, match=f"{products} products are in 8 bits with {weights} weights, but int8 should"):
        check_types(read_types(tmp_path / "changed.onnx"), "int8", 8)


def test_8_bits_are_no_other_precision(eight_bits: Path) -> None:
    found = read_types(eight_bits)
    with pytest.raises(ExportError, match=r"MatMul is in uint8\+int8 \(count: 8\)"):
        check_types(found, "fp32")
    with pytest.raises(ExportError, match="0 products are in 8 bits"):
        check_types(found, "int8-dynamic", 8)


def test_a_file_without_products_is_no_network() -> None:
    with pytest.raises(ExportError, match="it has no products"):
        check_types({"input": {"float32": 1}, "output": {"float32": 1}}, "fp32")
