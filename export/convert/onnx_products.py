"""Chooses which matrix products of an ONNX graph to quantize, and says why the others stay in float32."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass

from onnx import ModelProto, NodeProto

from noah.errors import ExportError

NARROWEST = 32
"""Weights with fewer rows or columns, like those of adapters and most heads, stay in float32. They take little time: on
the digits run of `make demo`, quantizing them too saved nothing and put the outputs 1.6 times as far from float32's."""

_SCOPES = "pkg.torch.onnx.name_scopes"
"""The exporter's note on a node: a Python list of the names of the modules that it comes from, outermost first."""


@dataclass(frozen=True)
class Products:
    """Which products to quantize.

    Attributes:
        names: Names of their nodes.
        blocks: The block that each of them is in, counted from 0; -1 for one outside the blocks.
        kept: How many others stay in float32, for each reason.
    """

    names: tuple[str, ...]
    blocks: tuple[int, ...]
    kept: dict[str, int]


def choose_products(
    model: ModelProto, *, gemm: bool, exclude_last_block: bool, float_blocks: Collection[int] = ()
) -> Products:
    """Choose every product of activations and a wide constant matrix.

    Args:
        model: As the exporter wrote it; its weights are not read.
        gemm: Take Gemm as well as MatMul.
        exclude_last_block: Leave out the last block of the network.
        float_blocks: Blocks to leave out because they lose too much, counted as in `Products`.

    Raises:
        ExportError: If nothing is left, or the graph does not say which nodes the last block has.
    """
    shapes = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    blocks = {node.name: _block(node) for node in model.graph.node}
    last = max(blocks.values())
    if exclude_last_block and last < 0:
        raise ExportError(
            "The exporter did not note which block a node comes from, so the last one cannot be left out.",
            "Leave out --exclude-last-block.",
        )
    names: list[str] = []
    kept: Counter[str] = Counter()
    for node in model.graph.node:
        if node.op_type not in ("MatMul", "Gemm"):
            continue
        shape = shapes.get(node.input[1], ())
        if node.op_type == "Gemm" and not gemm:
            kept["of one token alone"] += 1
        elif len(shape) != 2:
            kept["of two activations or head by head"] += 1
        elif min(shape) < NARROWEST:
            kept[f"with weights narrower than {NARROWEST}"] += 1
        elif exclude_last_block and blocks[node.name] == last:
            kept["in the last block"] += 1
        elif blocks[node.name] in float_blocks:
            kept["in blocks that lose too much"] += 1
        else:
            names.append(node.name)
    if not names:
        raise ExportError(
            "The network has no products to quantize: all are narrow, or in the last block.", "Use --precision fp32."
        )
    return Products(tuple(names), tuple(blocks[name] for name in names), dict(sorted(kept.items())))


def _block(node: NodeProto) -> int:
    """The number of the block that a node comes from, counted from 0; -1 if it comes from none."""
    notes = {entry.key: entry.value for entry in node.metadata_props}
    scopes = ast.literal_eval(notes.get(_SCOPES, "[]"))
    numbers = (int(match[1]) for scope in scopes if (match := re.fullmatch(r"(?:.+\.)?blocks\.(\d+)", scope)))
    return next(numbers, -1)
