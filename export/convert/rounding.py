"""Simulates a half-precision graph in float32: what a GPU would round, a CPU rounds with casts.

onnxruntime's CPU provider has no bf16 Conv at all, and computes most fp16 operators in float32 without rounding
between them. In the simulation every product is computed in float32, as tensor cores accumulate it, and every weight
and every result is rounded to the low type, so that an overflow shows up as infinity.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, helper, numpy_helper

from export.artifact.records import FloatPrecision
from export.convert.onnx_files import save_onnx
from export.convert.precision import ELEMENT_TYPES, FLOAT


def write_simulation(path: Path, simulation: Path, precision: FloatPrecision) -> None:
    """Write the simulation of an fp16 or bf16 file beside it."""
    save_onnx(simulate(onnx.load(str(path)), precision), simulation)


def simulate(model: ModelProto, precision: FloatPrecision) -> ModelProto:
    """Give the float32 graph that rounds wherever the low-precision graph would; the model given stays as it is.

    Args:
        model: As `to_precision` gives it, weights in memory.
        precision: The model's, fp16 or bf16.
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
        else:  # shapes, which the inference reads
            light.graph.initializer.append(tensor)
    return light
