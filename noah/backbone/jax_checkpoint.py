"""Reads the original checkpoints of the vision transformer's authors: `.npz` files with the arrays of a flax model.

timm copies the arrays into a model, but it broadcasts short arrays over longer parameters, ignores the last blocks of
deeper models, accepts any number of heads, resamples patches of other sizes, and leaves parameters that the layout does
not cover at their random values. So the file is first compared with the architecture, array by array, which only reads
the arrays' headers.

Sources of the layouts: google-research/vision_transformer ("An Image is Worth 16x16 Words", Dosovitskiy et al., 2020,
arXiv 2010.11929; "How to train your ViT?", Steiner et al., 2021, arXiv 2106.10270) and google-research/big_vision,
which numbers layers differently and may stack all blocks in one array.
"""

from __future__ import annotations

import math
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import timm

from noah.backbone.families.releases import READS_BARE_ARRAYS

Shape = tuple[int, ...]

LARGEST_GRID = 256
"""The most patches per side of position embeddings to resample; a file can claim any number, compressed to nothing."""
_PREFIXES = ("opt/target/", "params/", "params/img/", "")
_PATCHES = "embedding/kernel"


class Header(NamedTuple):
    """The shape and type in an array's header."""

    shape: Shape
    dtype: np.dtype[Any]


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file names and arranges its arrays.

    Args:
        prefix: The beginning of every name.
        stacked: Whether one array holds the same layer of all blocks, with the block as its first axis.
        newer: Whether layers are numbered as in big_vision.
    """

    prefix: str
    stacked: bool
    newer: bool


def load_jax_checkpoint(model: Any, path: Path) -> None:
    """Load an original checkpoint into a timm `VisionTransformer` without a head.

    Args:
        model: Gets the weights; position embeddings are resampled to its image size.
        path: The `.npz` file; if it holds an array of pickled objects, it is refused and nothing is unpickled.

    Raises:
        ValueError: If arrays are missing, superfluous, or have another shape than the architecture's; or if the
            installed timm does not know their names.
        OSError, zipfile.BadZipFile: If the file is not an archive of arrays.
    """
    headers = read_headers(path)
    layout = find_layout(headers)
    check_arrays(model, layout, headers)
    if layout.newer and not layout.prefix and not READS_BARE_ARRAYS:
        raise ValueError(
            f"timm {timm.__version__} reads arrays that are numbered as big_vision's only with params/ before their "
            "names, timm 1.0.29 without it, too: pip install --upgrade 'timm>=1.0.29'"
        )
    model.load_pretrained(str(path))


def read_headers(path: Path) -> dict[str, Header]:
    """Read the shape and type of every array in an `.npz` file.

    Raises:
        ValueError: If an array holds pickled objects.
        OSError, zipfile.BadZipFile: If the file is not an archive of arrays.
    """
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            name = member.removesuffix(".npy")
            with archive.open(member) as file:
                first = np.lib.format.read_magic(file) == (1, 0)
                read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
            if dtype.hasobject:
                raise ValueError(f"{name} holds pickled Python objects, which could run code")
            headers[name] = Header(tuple(shape), dtype)
    return headers


def find_layout(headers: dict[str, Header]) -> Layout:
    """Recognize the layout by the arrays' names.

    Raises:
        ValueError: If it is not one of the known layouts.
    """
    prefix = next((prefix for prefix in _PREFIXES if prefix + _PATCHES in headers), None)
    if prefix is None:
        raise ValueError(f"it has no array {_PATCHES}")
    stacked = f"{prefix}Transformer/encoderblock/LayerNorm_0/scale" in headers
    return Layout(prefix, stacked, stacked or prefix.startswith("params/") or f"{prefix}pos_embedding" in headers)


def check_arrays(model: Any, layout: Layout, headers: dict[str, Header]) -> None:
    """Compare a file's arrays with an architecture.

    Raises:
        ValueError: If they differ; it names the first difference in one line.
    """
    prefix = layout.prefix
    inside = {name.removeprefix(prefix): header for name, header in headers.items() if name.startswith(prefix)}
    depth = _depth(layout, inside)
    if depth != len(model.blocks):
        raise ValueError(f"it has {depth} blocks, not {len(model.blocks)}")
    patch = inside[_PATCHES].shape[:2]
    if patch != tuple(model.patch_embed.patch_size):
        raise ValueError(f"its patches are {' x '.join(map(str, patch))} pixels")
    expected = _expected(model, layout)
    homeless = sorted(model.state_dict().keys() - expected.keys())
    if homeless:
        raise ValueError(f"the architecture has {homeless[0]}, for which such files have no place")
    arrays = {name: shape for parts in expected.values() for name, shape in parts.items()}
    for name, shape in arrays.items():
        if name not in inside:
            raise ValueError(f"{name} is missing")
        found = inside[name]
        fits = _positions_fit(model, found.shape) if name.endswith("pos_embedding") else found.shape == shape
        if not fits:
            raise ValueError(f"{name} has the shape {found.shape}, not {shape}")
        if found.dtype.kind != "f":
            raise ValueError(f"{name} holds {found.dtype}, not floating-point numbers that numpy knows")
    unknown = sorted(name for name in inside if name.startswith("Transformer/") and name not in arrays)
    if unknown:
        raise ValueError(f"the architecture has no place for {unknown[0]}")


def _depth(layout: Layout, inside: dict[str, Header]) -> int:
    if layout.stacked:
        return (*inside["Transformer/encoderblock/LayerNorm_0/scale"].shape, 0)[0]
    return len({match[1] for name in inside if (match := re.match(r"Transformer/encoderblock_(\d+)/", name))})


def _positions_fit(model: Any, shape: Shape) -> bool:
    """Whether position embeddings of this shape fit the model, or can be resampled from a square grid."""
    if shape == tuple(model.pos_embed.shape):
        return True
    patches = shape[1] - (0 if model.no_embed_class else model.num_prefix_tokens) if len(shape) == 3 else 0
    return (
        0 < patches <= LARGEST_GRID**2
        and math.isqrt(patches) ** 2 == patches
        and shape == (1, shape[1], model.embed_dim)
    )


def _expected(model: Any, layout: Layout) -> dict[str, dict[str, Shape]]:
    """Map each parameter of the model to the names and shapes of the arrays that fill it."""
    dim = model.embed_dim
    encoder = "Transformer/encoder_norm"
    expected: dict[str, dict[str, Shape]] = {
        "patch_embed.proj.weight": {_PATCHES: (*model.patch_embed.patch_size, 3, dim)},
        "patch_embed.proj.bias": {"embedding/bias": (dim,)},
    }
    if model.pos_embed is not None:
        positions = "pos_embedding" if layout.newer else "Transformer/posembed_input/pos_embedding"
        expected["pos_embed"] = {positions: tuple(model.pos_embed.shape)}
    if model.cls_token is not None:
        expected["cls_token"] = {"cls": (1, 1, dim)}
    if hasattr(model.norm, "weight"):
        expected |= {"norm.weight": {f"{encoder}/scale": (dim,)}, "norm.bias": {f"{encoder}/bias": (dim,)}}
    for index, block in enumerate(model.blocks):
        place = "Transformer/encoderblock" if layout.stacked else f"Transformer/encoderblock_{index}"
        stack = (len(model.blocks),) if layout.stacked else ()
        for parameter, parts in _block(block, dim, newer=layout.newer).items():
            expected[f"blocks.{index}.{parameter}"] = {
                f"{place}/{name}": (*stack, *shape) for name, shape in parts.items()
            }
    return expected


def _block(block: Any, dim: int, *, newer: bool) -> dict[str, dict[str, Shape]]:
    """Map each parameter of one block to the names and shapes of the arrays that fill it."""
    heads, size = block.attn.num_heads, block.attn.head_dim
    attention = f"MultiHeadDotProductAttention_{0 if newer else 1}"
    parts: dict[str, dict[str, Shape]] = {
        "attn.qkv.weight": {f"{attention}/{part}/kernel": (dim, heads, size) for part in ("query", "key", "value")},
        "attn.proj.weight": {f"{attention}/out/kernel": (heads, size, dim)},
        "attn.proj.bias": {f"{attention}/out/bias": (dim,)},
    }
    if block.attn.qkv.bias is not None:
        parts["attn.qkv.bias"] = {f"{attention}/{part}/bias": (heads, size) for part in ("query", "key", "value")}
    for name, number in (("norm1", 0), ("norm2", 1 if newer else 2)):
        parts[f"{name}.weight"] = {f"LayerNorm_{number}/scale": (dim,)}
        parts[f"{name}.bias"] = {f"LayerNorm_{number}/bias": (dim,)}
    for number, layer in enumerate((block.mlp.fc1, block.mlp.fc2) if hasattr(block.mlp, "fc1") else ()):
        dense = f"MlpBlock_{0 if newer else 3}/Dense_{number}"
        parts[f"mlp.fc{number + 1}.weight"] = {f"{dense}/kernel": (layer.in_features, layer.out_features)}
        parts[f"mlp.fc{number + 1}.bias"] = {f"{dense}/bias": (layer.out_features,)}
    return parts
