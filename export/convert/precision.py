"""Writes a float32 ONNX graph in fp16 or bf16: products in half precision, norms and softmax in float32.

The file decides the precision: strongly typed engines and onnxruntime compute every operator in the types that it has
there. The rewrite goes through the nodes in order. A node computes in the low type unless it is one of
`FLOAT32_OPERATORS`; wherever a tensor crosses from one type to the other, one Cast is inserted for it. Inputs and
outputs of the graph keep their types.
"""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.artifact.records import FloatPrecision, Precision
from export.convert.onnx_files import save_onnx
from noah.errors import ExportError

PRECISIONS: tuple[Precision, ...] = get_args(Precision)
FLOAT = TensorProto.FLOAT

ELEMENT_TYPES: dict[FloatPrecision, int] = {"fp32": FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
"""ONNX element type of each floating-point precision."""

OLDEST_OPSETS: dict[Precision, int] = {"fp32": 18, "fp16": 18, "bf16": 22, "int8": 18, "int8-dynamic": 18}
"""bf16 Conv came with opset 22, although onnx's plain check accepts it in older ones."""
DEFAULT_OPSETS: dict[Precision, int] = {"fp32": 20, "fp16": 20, "bf16": 22, "int8": 20, "int8-dynamic": 20}
"""20 has LayerNormalization (17) and Gelu (20) as operators of their own."""

NORMS_AND_SOFTMAX = ("LayerNormalization", "RMSNormalization", "Softmax")
"""They add up squares or exponentials, which overflow in fp16 and lose the small terms in bf16."""
FLOAT32_OPERATORS = frozenset((*NORMS_AND_SOFTMAX, "Constant", "ConstantOfShape"))
"""Computed in float32. Constants have no float input whose type they could follow; nodes that read one cast it."""


def write_precision(path: Path, precision: FloatPrecision) -> None:
    """Rewrite a float32 ONNX file in place.

    Raises:
        ExportError: As in `to_precision`.
    """
    if precision != "fp32":
        save_onnx(to_precision(onnx.load(str(path)), precision), path)


def to_precision(model: ModelProto, precision: FloatPrecision) -> ModelProto:
    """Give the graph in another precision; the given model is not changed.

    Args:
        model: In float32, with an opset that has the new type, its weights in memory, and a type for every tensor.
        precision: fp16 or bf16.

    Raises:
        ExportError: If a weight overflows, a tensor has no type, or the graph has branches.
    """
    return _Rewrite(model, precision).run()


class _Rewrite:
    """One pass over the nodes; `now` is the type that each float tensor has in the new graph so far."""

    def __init__(self, model: ModelProto, precision: FloatPrecision) -> None:
        self.model = model
        self.precision = precision
        self.low = ELEMENT_TYPES[precision]
        graph = model.graph
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.outputs = {value.name for value in graph.output}
        self.original = {
            value.name: value.type.tensor_type.elem_type for value in (*graph.value_info, *graph.input, *graph.output)
        } | {tensor.name: tensor.data_type for tensor in graph.initializer}
        self.now = {value.name: value.type.tensor_type.elem_type for value in graph.input}
        self.nodes: list[NodeProto] = []
        self.new_weights: dict[str, TensorProto] = {}
        self.casts: dict[tuple[str, int], str] = {}

    def run(self) -> ModelProto:
        for node in self.model.graph.node:
            self._rewrite(node)
        written = ModelProto()
        written.CopyFrom(self.model)
        for field, values in (("node", self.nodes), ("initializer", self.new_weights.values()), ("value_info", ())):
            written.graph.ClearField(field)
            getattr(written.graph, field).extend(values)
        return written

    def _rewrite(self, node: NodeProto) -> None:
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            raise ExportError(
                f"The graph branches at {node.name} ({node.op_type}), which cannot be in {self.precision}."
            )
        target = FLOAT if node.op_type in FLOAT32_OPERATORS else self.low
        written = NodeProto()
        written.CopyFrom(node)
        written.input[:] = [self._as(name, target) if name else "" for name in node.input]
        if node.op_type == "Cast":
            for attribute in written.attribute:
                if attribute.name == "to" and attribute.i == FLOAT:
                    attribute.i = target
        self.nodes.append(written)
        for place, name in enumerate(node.output):
            if not name or self._type(name) != FLOAT:
                continue
            self.now[name] = target
            if name in self.outputs and target != FLOAT:
                written.output[place] = f"{name}.{self.precision}"
                self.nodes.append(helper.make_node("Cast", [written.output[place]], [name], to=FLOAT))
                self.now[name] = FLOAT

    def _as(self, name: str, target: int) -> str:
        """The name of a tensor in a given type; tensors that were not float32 have only one name."""
        if name in self.weights:
            return self._weight(name, target)
        if self._type(name) != FLOAT or self.now[name] == target:
            return name
        if (name, target) not in self.casts:
            suffix = "fp32" if target == FLOAT else self.precision
            self.casts[name, target] = f"{name}.{suffix}"
            self.nodes.append(helper.make_node("Cast", [name], [f"{name}.{suffix}"], to=target))
        return self.casts[name, target]

    def _weight(self, name: str, target: int) -> str:
        weight = self.weights[name]
        if weight.data_type != FLOAT or target == FLOAT:
            self.new_weights[name] = weight
            return name
        rounded = f"{name}.{self.precision}"
        if rounded not in self.new_weights:
            values = numpy_helper.to_array(weight)
            with np.errstate(over="ignore"):  # reported below, with the weight's name
                low = values.astype(helper.tensor_dtype_to_np_dtype(target))
            if not np.isfinite(low.astype(np.float32)).all():
                raise ExportError(
                    f"The weight {name} does not fit into {self.precision}: it holds {np.abs(values).max():.3g}.",
                    "Try --precision bf16, which has the range of float32, or fp32.",
                )
            self.new_weights[rounded] = numpy_helper.from_array(low, rounded)
        return rounded

    def _type(self, name: str) -> int:
        """The ONNX element type of a tensor in the float32 graph."""
        if name not in self.original:
            raise ExportError(f"The exporter left the tensor {name} without a type.", "Please report this.")
        return int(self.original[name])


def write_simulation(path: Path, simulation: Path, precision: FloatPrecision) -> None:
    """Write the simulation of an fp16 or bf16 file beside it."""
    save_onnx(simulate(onnx.load(str(path)), precision), simulation)


def simulate(model: ModelProto, precision: FloatPrecision) -> ModelProto:
    """Give the float32 graph that rounds wherever the low-precision graph would; the given model is not changed.

    Args:
        model: A result of `to_precision`, with its weights in memory.
        precision: The precision of that model, fp16 or bf16.
    """
    low = ELEMENT_TYPES[precision]
    types = {
        value.name: value.type.tensor_type.elem_type
        for value in onnx.shape_inference.infer_shapes(_without_weights(model)).graph.value_info
    }
    written = ModelProto()
    written.CopyFrom(model)
    for tensor in written.graph.initializer:
        if tensor.data_type == low:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes: list[NodeProto] = []
    for original in model.graph.node:
        node = NodeProto()
        node.CopyFrom(original)
        rounded = [name for name in node.output if types.get(name) == low]
        node.output[:] = [f"{name}.exact" if name in rounded else name for name in node.output]
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == low:
                    attribute.i = FLOAT
        nodes.append(node)
        for name in rounded:
            nodes.append(helper.make_node("Cast", [f"{name}.exact"], [f"{name}.low"], to=low))
            nodes.append(helper.make_node("Cast", [f"{name}.low"], [name], to=FLOAT))
    written.graph.ClearField("node")
    written.graph.ClearField("value_info")
    written.graph.node.extend(nodes)
    return written


def _without_weights(model: ModelProto) -> ModelProto:
    """The model with its weights as inputs, small enough for onnx's inference whatever their size."""
    light = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    light.graph.name = model.graph.name
    light.graph.node.extend(model.graph.node)
    light.graph.input.extend(model.graph.input)
    light.graph.output.extend(model.graph.output)
    for tensor in model.graph.initializer:
        if tensor.data_type in ELEMENT_TYPES.values():
            light.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
        else:  # shapes, which shape inference reads
            light.graph.initializer.append(tensor)
    return light
