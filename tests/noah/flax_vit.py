"""A vision transformer in the original authors' layout, with random weights, and its forward pass in numpy.

Written from the description of the model (Dosovitskiy et al., 2020, arXiv 2010.11929) and the shapes of flax's layers,
without timm: kernels are (inputs, outputs), attention kernels keep their heads apart, images are (height, width, RGB).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Sizes:
    """Those of timm's `test_vit` at 32 px."""

    dim: int = 64
    depth: int = 6
    heads: int = 2
    hidden: int = 192
    patch: int = 16
    grid: int = 2


def random_arrays(sizes: Sizes = Sizes(), seed: int = 0) -> Arrays:
    """Random float32 arrays of a published file, large enough that each matters."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int, around: float = 0.0, fan_in: int | None = None) -> np.ndarray:
        scale = 0.2 if fan_in is None else fan_in**-0.5
        return (around + scale * rng.standard_normal(shape)).astype(np.float32)

    dim, heads, size = sizes.dim, sizes.heads, sizes.dim // sizes.heads
    arrays = {
        "embedding/kernel": draw(sizes.patch, sizes.patch, 3, dim, fan_in=3 * sizes.patch**2),
        "embedding/bias": draw(dim),
        "cls": draw(1, 1, dim),
        "Transformer/posembed_input/pos_embedding": draw(1, 1 + sizes.grid**2, dim),
        "Transformer/encoder_norm/scale": draw(dim, around=1),
        "Transformer/encoder_norm/bias": draw(dim),
        "pre_logits/kernel": draw(dim, dim),  # old files have these three, which a backbone does not need
        "head/kernel": draw(dim, 10),
        "head/bias": draw(10),
    }
    for index in range(sizes.depth):
        block = f"Transformer/encoderblock_{index}"
        for norm in ("LayerNorm_0", "LayerNorm_2"):
            arrays[f"{block}/{norm}/scale"] = draw(dim, around=1)
            arrays[f"{block}/{norm}/bias"] = draw(dim)
        attention = f"{block}/MultiHeadDotProductAttention_1"
        for part in ("query", "key", "value"):
            arrays[f"{attention}/{part}/kernel"] = draw(dim, heads, size, fan_in=dim)
            arrays[f"{attention}/{part}/bias"] = draw(heads, size)
        arrays[f"{attention}/out/kernel"] = draw(heads, size, dim, fan_in=dim)
        arrays[f"{attention}/out/bias"] = draw(dim)
        arrays[f"{block}/MlpBlock_3/Dense_0/kernel"] = draw(dim, sizes.hidden, fan_in=dim)
        arrays[f"{block}/MlpBlock_3/Dense_0/bias"] = draw(sizes.hidden)
        arrays[f"{block}/MlpBlock_3/Dense_1/kernel"] = draw(sizes.hidden, dim, fan_in=sizes.hidden)
        arrays[f"{block}/MlpBlock_3/Dense_1/bias"] = draw(dim)
    return arrays


def renumbered(arrays: Arrays, *, stacked: bool, prefix: str) -> Arrays:
    """The same model as the later files of its authors spell it, perhaps with all blocks in one array a layer."""
    later: Arrays = {}
    depth = sum(name.endswith("LayerNorm_0/scale") for name in arrays)
    for name, array in arrays.items():
        for old, new in (
            ("Transformer/posembed_input/", ""),
            ("MultiHeadDotProductAttention_1", "MultiHeadDotProductAttention_0"),
            ("MlpBlock_3", "MlpBlock_0"),
            ("LayerNorm_2", "LayerNorm_1"),
        ):
            name = name.replace(old, new)
        later[prefix + name] = array
    if stacked:
        for name in [name for name in later if "encoderblock_0/" in name]:
            blocks = [later.pop(name.replace("encoderblock_0", f"encoderblock_{index}")) for index in range(depth)]
            later[name.replace("encoderblock_0", "encoderblock")] = np.stack(blocks)
    return later


def forward(arrays: Arrays, images: np.ndarray) -> np.ndarray:
    """The normalized class token (B, D) of images (B, H, W, 3), in float64.

    GELU is exact, as in the networks that these weights are loaded into; the authors' own code approximates it.
    """
    w = {name: array.astype(np.float64) for name, array in arrays.items()}
    side = w["embedding/kernel"].shape[0]
    batch, height, width, _ = images.shape
    patches = images.reshape(batch, height // side, side, width // side, side, 3)
    x = np.einsum("byhxwc,hwcd->byxd", patches, w["embedding/kernel"]) + w["embedding/bias"]
    x = x.reshape(batch, -1, x.shape[-1])
    x = np.concatenate([np.repeat(w["cls"], batch, axis=0), x], axis=1)
    x = x + w["Transformer/posembed_input/pos_embedding"]
    for index in range(sum(name.endswith("LayerNorm_0/scale") for name in w)):
        block = f"Transformer/encoderblock_{index}"
        x = x + _attention(w, f"{block}/MultiHeadDotProductAttention_1", _norm(w, f"{block}/LayerNorm_0", x))
        hidden = _dense(w, f"{block}/MlpBlock_3/Dense_0", _norm(w, f"{block}/LayerNorm_2", x))
        x = x + _dense(w, f"{block}/MlpBlock_3/Dense_1", _gelu(hidden))
    return _norm(w, "Transformer/encoder_norm", x)[:, 0]


def _attention(w: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    query, key, value = (
        np.einsum("bnd,dhs->bhns", x, w[f"{name}/{part}/kernel"]) + w[f"{name}/{part}/bias"][:, None]
        for part in ("query", "key", "value")
    )
    scores = np.einsum("bhns,bhms->bhnm", query, key) / math.sqrt(query.shape[-1])
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed = np.einsum("bhnm,bhms->bhns", weights / weights.sum(axis=-1, keepdims=True), value)
    return np.einsum("bhns,hsd->bnd", mixed, w[f"{name}/out/kernel"]) + w[f"{name}/out/bias"]


def _norm(w: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    centered = x - x.mean(axis=-1, keepdims=True)
    return (
        centered / np.sqrt((centered**2).mean(axis=-1, keepdims=True) + 1e-6) * w[f"{name}/scale"] + w[f"{name}/bias"]
    )


def _dense(w: Arrays, name: str, x: np.ndarray) -> np.ndarray:
    return x @ w[f"{name}/kernel"] + w[f"{name}/bias"]


def _gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.vectorize(math.erf)(x / math.sqrt(2))) / 2
