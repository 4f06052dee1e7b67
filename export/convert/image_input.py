"""Puts resizing and cropping into an ONNX graph, so that it takes pictures of any size.

Only decoding is left to the caller. The pictures are resized in 8 bits and antialiased by the filters of Pillow, which
`noah.data.pixels.preprocessing` uses. onnxruntime rounds as Pillow does, but after other steps, so that a value may
differ by a level or two of 255.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from export.convert.onnx_files import check_valid
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ExportError

MODES = {"bilinear": "linear", "bicubic": "cubic"}
"""The interpolations that ONNX's Resize antialiases, by Pillow's names."""
AXES = ("height", "width")
"""The free axes of a picture's size in the graph."""
_PREFIX = "picture/"
"""Begins the names of what is put in front, which no name of the exporter does."""


def why_not(preprocessing: Preprocessing) -> str:
    """Why pictures cannot be resized in a graph as this preprocessing does it; empty if they can."""
    if preprocessing.interpolation in MODES:
        return ""
    return (
        f"ONNX resizes antialiased by {' or '.join(MODES)} alone, and this backbone's is {preprocessing.interpolation}"
    )


def take_pictures(file: Path, preprocessing: Preprocessing) -> None:
    """Make a graph that takes raw pixels (B, H, W, 3) of one size take pictures of any size.

    Args:
        file: An ONNX file with one input, uint8 (B, H, W, 3), of opset 18 or more. It is rewritten: its input, whose
            name stays, becomes uint8 (B, height, width, 3), where all pictures of a batch have one size.
        preprocessing: How a picture becomes the pixels that the graph takes now.

    Raises:
        ExportError: If ONNX has no such interpolation, or the graph takes something else.
    """
    if reason := why_not(preprocessing):
        raise ExportError(f"The graph cannot take pictures of any size: {reason}.", "Use --input uint8.")
    model = onnx.load(str(file), load_external_data=False)
    put_resizing_in_front(model, preprocessing)
    onnx.save(model, str(file))
    check_valid(file)


def put_resizing_in_front(model: ModelProto, preprocessing: Preprocessing) -> None:
    """Do what `take_pictures` does to a graph in memory.

    Raises:
        ExportError: If the graph takes something else than pixels of the size that the preprocessing makes.
    """
    (taken,) = model.graph.input
    shape, sides = taken.type.tensor_type.shape.dim, (preprocessing.height, preprocessing.width)
    if taken.type.tensor_type.elem_type != TensorProto.UINT8 or (shape[1].dim_value, shape[2].dim_value) != sides:
        raise ExportError(f"The graph does not take pixels of {preprocessing.width} x {preprocessing.height}.")
    for axis, name in zip(shape[1:3], AXES, strict=True):
        axis.dim_param = name
    pixels = f"{_PREFIX}pixels"
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == taken.name:
                node.input[index] = pixels
    nodes, constants = _resizing(taken.name, pixels, preprocessing)
    others = list(model.graph.node)
    del model.graph.node[:]
    model.graph.node.extend([*nodes, *others])
    model.graph.initializer.extend(constants)


def resizing_graph(preprocessing: Preprocessing, opset: int) -> ModelProto:
    """Make a graph of the resizing alone, from pictures uint8 (B, height, width, 3) to pixels uint8 (B, H, W, 3).

    Args:
        preprocessing: How pictures are resized and cropped.
        opset: ONNX operator set, 18 or more.
    """
    pictures = helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["batch", *AXES, 3])
    pixels = helper.make_tensor_value_info(
        "pixels", TensorProto.UINT8, ["batch", preprocessing.height, preprocessing.width, 3]
    )
    nodes, constants = _resizing("pictures", "pixels", preprocessing)
    graph = helper.make_graph(nodes, "resizing", [pictures], [pixels], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _resizing(pictures: str, pixels: str, preprocessing: Preprocessing) -> tuple[list[NodeProto], list[TensorProto]]:
    """The nodes from pictures (B, height, width, 3) to pixels (B, H, W, 3), and their constants."""
    graph = _Nodes()
    target = graph.constant("target", np.array([preprocessing.height, preprocessing.width], np.int64))
    planes = graph.add("Transpose", pictures, perm=[0, 3, 1, 2])
    size = graph.add("Shape", pictures, start=1, end=3)
    resized = target if preprocessing.resize == "squash" else _crop_scale(graph, size, preprocessing)
    sizes = graph.add("Concat", graph.add("Shape", planes, start=0, end=2), resized, axis=0)
    found = graph.add(
        "Resize",
        planes,
        "",
        "",
        sizes,
        mode=MODES[preprocessing.interpolation],
        coordinate_transformation_mode="half_pixel",
        antialias=1,
        cubic_coeff_a=-0.5,  # Pillow's bicubic filter
        exclude_outside=1,
    )
    if preprocessing.resize == "crop":
        # Half of what is too much, rounded to the even number, as Python's round() does.
        surplus = graph.add("Cast", graph.add("Sub", resized, target), to=TensorProto.DOUBLE)
        half = graph.add("Mul", surplus, graph.constant("half", np.array(0.5)))
        starts = graph.add("Cast", graph.add("Round", half), to=TensorProto.INT64)
        ends = graph.add("Add", starts, target)
        found = graph.add("Slice", found, starts, ends, graph.constant("sides", np.array([2, 3], np.int64)))
    graph.add("Transpose", found, perm=[0, 2, 3, 1], name=pixels)
    return graph.nodes, graph.constants


def _crop_scale(graph: _Nodes, size: str, preprocessing: Preprocessing) -> str:
    """The (height, width) that a picture of a size is resized to before the crop; see `Preprocessing`."""
    sides = [math.floor(side / preprocessing.crop_fraction) for side in (preprocessing.height, preprocessing.width)]
    if sides[0] == sides[1]:
        scaled = graph.add("Mul", size, graph.constant("side", np.array(sides[:1], np.int64)))
        return graph.add("Div", scaled, graph.add("ReduceMin", size, keepdims=1))
    exact = graph.add("Cast", size, to=TensorProto.DOUBLE)
    ratios = graph.add("Div", exact, graph.constant("scaled", np.array(sides, np.float64)))
    rounded = graph.add("Round", graph.add("Div", exact, graph.add("ReduceMin", ratios, keepdims=1)))
    return graph.add("Cast", rounded, to=TensorProto.INT64)


class _Nodes:
    """Collects nodes and constants, and names their results."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: list[TensorProto] = []

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node, and give the name of its result."""
        result = name or f"{_PREFIX}{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, list(inputs), [result], name=f"{_PREFIX}{len(self.nodes)}", **attributes)
        )
        return result

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant, and give its name."""
        self.constants.append(numpy_helper.from_array(value, f"{_PREFIX}{name}"))
        return f"{_PREFIX}{name}"
