"""Reads back in which types a written ONNX file really computes, and compares them with what was asked."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
from onnx import TensorProto, helper

from export.precision import ELEMENT_TYPES, NORMS_AND_SOFTMAX
from export.records import Precision
from noah.errors import ExportError

PRODUCTS = ("Conv", "Gemm", "MatMul")
"""Where the time goes: these have to compute in the precision asked for."""
_FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE}
_INPUT_TYPES = {"float32", "uint8"}

FoundTypes = dict[str, dict[str, int]]
"""Operator, or "input", "output" or "weights" -> type -> how many of them."""


def read_types(path: Path) -> FoundTypes:
    """Count the types of products, norms, softmax, float weights, inputs and outputs.

    The types come from onnx's own inference over the written file, not from what the writer meant. An operator whose
    float tensors are of several types counts under all of them, as in "float16+float32"; norms have float32 weights
    beside them in either case and count by what they read and give.

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
    for node in graph.node:
        if node.op_type in PRODUCTS or node.op_type in NORMS_AND_SOFTMAX:
            names = [name for name in (*node.input, *node.output) if name and types.get(name) in _FLOATS]
            kinds = sorted({_name(types[name]) for name in names})
            found.setdefault(node.op_type, Counter())["+".join(kinds)] += 1
    found["weights"] = Counter(_name(tensor.data_type) for tensor in graph.initializer if tensor.data_type in _FLOATS)
    for place, values in (("input", graph.input), ("output", graph.output)):
        found[place] = Counter(_name(value.type.tensor_type.elem_type) for value in values)
    return {name: dict(sorted(counts.items())) for name, counts in sorted(found.items())}


def check_types(found: FoundTypes, precision: Precision) -> None:
    """Compare types that were read back with a precision.

    Raises:
        ExportError: Naming the first operator that computes in another type than it should.
    """
    low = _name(ELEMENT_TYPES[precision])
    expected = (
        {name: {low} for name in PRODUCTS}
        | {name: {"float32"} for name in NORMS_AND_SOFTMAX}
        | {"input": _INPUT_TYPES, "output": {"float32"}}
    )
    if not any(name in found for name in PRODUCTS):
        raise ExportError("The exported model fails the check of types: it has no products.")
    for name, allowed in expected.items():
        for kind, count in found.get(name, {}).items():
            if kind not in allowed:
                raise ExportError(
                    f"The exported model fails the check of types: {count} times {name} is in {kind}, and "
                    f"{precision} needs {' or '.join(sorted(allowed))}.",
                    "Nothing was written. Please report this with the backbone's name.",
                )


def _name(element_type: int) -> str:
    """`float16`, `bfloat16`, `uint8`, ..."""
    return str(helper.tensor_dtype_to_np_dtype(element_type))
