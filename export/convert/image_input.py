"""Puts resizing and cropping into an ONNX graph, so that it takes images of any size.

Only decoding is left to the caller. They are resized in 8 bits and antialiased by the filters of Pillow, which
`noah.data.pixels.preprocessing` uses, in the same steps, so that a value differs by one level of 255 at most.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper
from PIL import Image

from export.convert.onnx_files import check_valid
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ExportError

MODES = {"bilinear": "linear", "bicubic": "cubic"}
"""The interpolations that ONNX's Resize antialiases, by Pillow's names."""
AXES = ("height", "width")
"""The free axes of an image's size in the graph."""
_PREFIX = "resize/"
"""Begins the names of what is put in front, which no name of the exporter does."""


def check_resizes(preprocessing: Preprocessing) -> None:
    """Check that a graph can resize as this preprocessing does.

    Raises:
        ExportError: If ONNX has no such interpolation.
    """
    if preprocessing.interpolation not in MODES:
        raise ExportError(
            f"A graph cannot resize images as this backbone's are: ONNX antialiases {' and '.join(MODES)} resizing "
            f"alone, not {preprocessing.interpolation}.",
            "Use --input uint8.",
        )


def take_images(file: Path, preprocessing: Preprocessing) -> None:
    """Make a graph that takes raw pixels (B, H, W, 3) of one size take images of any size.

    Args:
        file: An ONNX file with one input, uint8 (B, H, W, 3), of opset 18 or more. It is rewritten: its input, whose
            name stays, becomes uint8 (B, height, width, 3), where all images of a batch have one size.
        preprocessing: How an image becomes the pixels that the graph takes now.

    Raises:
        ExportError: If ONNX has no such interpolation, or the graph takes something else.
    """
    check_resizes(preprocessing)
    model = onnx.load(str(file), load_external_data=False)
    put_resizing_in_front(model, preprocessing)
    onnx.save(model, str(file))
    check_valid(file)


def put_resizing_in_front(model: ModelProto, preprocessing: Preprocessing) -> None:
    """Do what `take_images` does to a graph in memory.

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
    """Make a graph of the resizing alone, from images uint8 (B, height, width, 3) to pixels uint8 (B, H, W, 3).

    Args:
        preprocessing: How images are resized and cropped.
        opset: ONNX operator set, 18 or more.
    """
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", *AXES, 3])
    pixels = helper.make_tensor_value_info(
        "pixels", TensorProto.UINT8, ["batch", preprocessing.height, preprocessing.width, 3]
    )
    nodes, constants = _resizing("images", "pixels", preprocessing)
    graph = helper.make_graph(nodes, "resizing", [images], [pixels], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=10)


def _resizing(images: str, pixels: str, preprocessing: Preprocessing) -> tuple[list[NodeProto], list[TensorProto]]:
    """The nodes from images (B, height, width, 3) to pixels (B, H, W, 3), and their constants."""
    graph = _Nodes()
    target = graph.constant("target", np.array([preprocessing.height, preprocessing.width], np.int64))
    size = graph.add("Shape", images, start=1, end=3)
    resized = target if preprocessing.resize == "squash" else _crop_scale(graph, size, preprocessing)
    planes = graph.add("Transpose", images, perm=[0, 3, 1, 2])
    many = graph.add("Shape", planes, start=0, end=2)
    # In two steps, in the order of Pillow, because values are rounded in between, and cut off at 0 and 255.
    between = _first_step(graph, size, resized)
    step = graph.resize(planes, graph.add("Concat", many, between, axis=0), preprocessing.interpolation)
    found = graph.resize(step, graph.add("Concat", many, resized, axis=0), preprocessing.interpolation)
    if preprocessing.resize == "crop":
        # Half of what is too much, rounded to the even number, as Python's round() does.
        surplus = graph.add("Cast", graph.add("Sub", resized, target), to=TensorProto.DOUBLE)
        half = graph.add("Mul", surplus, graph.constant("half", np.array(0.5)))
        starts = graph.add("Cast", graph.add("Round", half), to=TensorProto.INT64)
        ends = graph.add("Add", starts, target)
        found = graph.add("Slice", found, starts, ends, graph.constant("sides", np.array([2, 3], np.int64)))
    graph.add("Transpose", found, perm=[0, 2, 3, 1], name=pixels)
    return graph.nodes, graph.constants


def pillow_may_begin_with_height() -> bool:
    """Whether the installed Pillow resizes the height first if that shrinks by far more pixels than the width.

    Pillow 13 does, and older ones always begin with the width; what comes of it may differ by some levels of 255.
    """
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 8), dtype=np.uint8))
    by_height = picture.resize((8, 16), Image.Resampling.BICUBIC).resize((6, 16), Image.Resampling.BICUBIC)
    return picture.resize((6, 16), Image.Resampling.BICUBIC).tobytes() == by_height.tobytes()


def _first_step(graph: _Nodes, size: str, resized: str) -> str:
    """The (height, width) after the first of two steps from a size to another: one of the sides is as before."""
    height, width = (graph.constant(name, np.array([row], np.int64)) for name, row in (("height", 0), ("width", 1)))
    by_width = graph.add("Concat", graph.add("Gather", size, height), graph.add("Gather", resized, width), axis=0)
    if not pillow_may_begin_with_height():
        return by_width
    by_height = graph.add("Concat", graph.add("Gather", resized, height), graph.add("Gather", size, width), axis=0)
    shrunk = graph.add("Sub", size, resized)
    down, across = graph.add("Gather", shrunk, height), graph.add("Gather", shrunk, width)
    # Where the height shrinks at all, and by more than twice as many pixels as the width.
    twice = graph.add("Mul", across, graph.constant("two", np.array([2], np.int64)))
    bound = graph.add("Max", twice, graph.constant("zero", np.array([0], np.int64)))
    return graph.add("Where", graph.add("Greater", down, bound), by_height, by_width)


def _crop_scale(graph: _Nodes, size: str, preprocessing: Preprocessing) -> str:
    """The (height, width) that an image of a size is resized to before the crop; see `Preprocessing`."""
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

    def resize(self, planes: str, sizes: str, interpolation: str) -> str:
        """Add a node that resizes images (B, 3, H, W) to sizes of all four axes by Pillow's filter of that name."""
        return self.add(
            "Resize",
            planes,
            "",
            "",
            sizes,
            mode=MODES[interpolation],
            coordinate_transformation_mode="half_pixel",
            antialias=1,
            cubic_coeff_a=-0.5,  # that of Pillow's bicubic filter
            exclude_outside=1,
        )

    def constant(self, name: str, value: np.ndarray) -> str:
        """Add a constant, and give its name."""
        self.constants.append(numpy_helper.from_array(value, f"{_PREFIX}{name}"))
        return f"{_PREFIX}{name}"
