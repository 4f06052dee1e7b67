"""Reads back which types a written ONNX file really computes in, and compares them with what was asked for."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
from onnx import GraphProto, NodeProto, TensorProto, helper

from export.artifact.records import FloatPrecision, Precision
from export.convert.precision import ELEMENT_TYPES, NORMS_AND_SOFTMAX
from noah.errors import ExportError

PRODUCTS = ("Conv", "Gemm", "MatMul")
"""The operators that take the time; they have to compute in the precision asked for."""
_INTEGER_PRODUCT = "MatMulInteger"
_QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")
_PAIRS = ("uint8+int8", "int8+int8")
_EIGHT_BITS = {TensorProto.INT8, TensorProto.UINT8}
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
_INPUT_TYPES = {"float32", "uint8"}

FoundTypes = dict[str, dict[str, int]]
"""How many of each type, by operator or by "input", "output" and "weights"."""


def read_types(path: Path) -> FoundTypes:
    """Count the types of products, norms, softmax, float weights, inputs and outputs.

    The types come from onnx's own inference over the written file, not from what the writer meant. An operator whose
    float tensors are of several types counts under all of them, as in "float16+float32"; norms always have float32
    weights and count by their inputs and outputs. A product that reads the output of DequantizeLinear counts by the
    types of that operator's input, activation first, as in "uint8+int8": runtimes fuse the two.

    Raises:
        ExportError: If the types contradict one another.
    """
    model = onnx.load(str(path), load_external_data=False)
    try:
        graph = onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True).graph
    except onnx.shape_inference.InferenceError as error:
        raise ExportError(f"The types of {path.name} contradict one another: {str(error).splitlines()[0]}") from error
    types = {value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)}
    types |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    found: dict[str, Counter[str]] = {}
    dequantized = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "DequantizeLinear"}
    for node in graph.node:
        if node.op_type in PRODUCTS and any(name in dequantized for name in node.input):
            kinds = [_name(types[dequantized.get(name, name)]) for name in node.input[:2]]
        elif node.op_type == _INTEGER_PRODUCT:
            kinds = [_name(types[name]) for name in node.input[:2]]
        elif node.op_type in PRODUCTS or node.op_type in NORMS_AND_SOFTMAX:
            names = [name for name in (*node.input, *node.output) if name and types.get(name) in _FLOATS]
            kinds = sorted({_name(types[name]) for name in names})
        else:
            continue
        found.setdefault(node.op_type, Counter())["+".join(kinds)] += 1
    found["weights"] = _weights(graph)
    for place, values in (("input", graph.input), ("output", graph.output)):
        found[place] = Counter(_name(value.type.tensor_type.elem_type) for value in values)
    return {name: dict(sorted(counts.items())) for name, counts in sorted(found.items())}


def check_types(found: FoundTypes, precision: Precision, quantized: int = 0) -> None:
    """Compare the types in a file with the precision that was asked for.

    Args:
        found: The result of `read_types`.
        precision: The precision that was asked for.
        quantized: For int8 and int8-dynamic, the number of products that should be quantized.

    Raises:
        ExportError: If an operator computes in the wrong type; names the first.
    """
    if precision == "int8" or precision == "int8-dynamic":
        found = _check_quantized(found, precision, quantized)
        precision = "fp32"  # everything else has to be in it
    _check_floats(found, precision)


def _check_floats(found: FoundTypes, precision: FloatPrecision) -> None:
    low = _name(ELEMENT_TYPES[precision])
    expected = (
        {name: {low} for name in PRODUCTS}
        | {name: {"float32"} for name in NORMS_AND_SOFTMAX}
        | {"input": _INPUT_TYPES, "output": {"float32"}}
    )
    if not any(name in found for name in PRODUCTS):
        raise ExportError("The exported model fails the type check: it has no products.")
    for name, allowed in expected.items():
        for kind, count in found.get(name, {}).items():
            if kind not in allowed:
                raise ExportError(
                    f"The exported model fails the type check: {name} is in {kind} (count: {count}), but {precision} "
                    f"needs {' or '.join(sorted(allowed))}.",
                    "Nothing was written. Please report this with the backbone's name.",
                )


def _check_quantized(found: FoundTypes, precision: Precision, quantized: int) -> FoundTypes:
    """Check the number of quantized products and of their weights, and give the remaining counts."""
    names = ("MatMul", "Gemm") if precision == "int8" else (_INTEGER_PRODUCT,)
    weights = found["weights"].get("int8", 0)
    rest = {name: dict(counts) for name, counts in found.items()}
    products = sum(rest.get(name, {}).pop(kind, 0) for name in names for kind in _PAIRS)
    if products != quantized or weights != quantized:
        raise ExportError(
            f"The exported model fails the type check: {products} products are in 8 bits with {weights} weights, "
            f"but {precision} should have {quantized}.",
            "Nothing was written. Please report this with the backbone's name.",
        )
    return rest


def _weights(graph: GraphProto) -> Counter[str]:
    """Count float tensors and quantized matrices by type; their scales and zero points are not weights."""
    scales = {name for node in graph.node if node.op_type in _QUANTIZERS for name in node.input[1:]}
    matrices = {name for node in graph.node for name in _matrices(node)}
    return Counter(
        _name(tensor.data_type)
        for tensor in graph.initializer
        if (tensor.data_type in _FLOATS and tensor.name not in scales)
        or (tensor.data_type in _EIGHT_BITS and tensor.name in matrices)
    )


def _matrices(node: NodeProto) -> list[str]:
    """The tensors of a node that are quantized matrices, if they are constants."""
    if node.op_type == "DequantizeLinear":
        return [node.input[0]]
    return [node.input[1]] if node.op_type == _INTEGER_PRODUCT else []


def _name(element_type: int) -> str:
    """Name an ONNX element type as numpy does: `float16`, `bfloat16`, `uint8` and so on."""
    return str(helper.tensor_dtype_to_np_dtype(element_type))
