"""Reads a pickled file of weights without running anything in it, and without using much more memory than its size.

torch's weights-only reader builds only tensors and plain values. It does not check two things: a file of a few bytes
may be compressed, although torch never compresses, or its tensors may be views of one repeated number.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_NAMES = 4
"""How many names one weight may have, because tied weights are in a file only once."""


def load_plain(path: Path, allowed: Sequence[Any] = ()) -> Any:
    """Read a `.pth` file onto the CPU.

    Args:
        path: The file to read.
        allowed: What it may ask for besides tensors and plain values, in the form of torch's `safe_globals`.

    Raises:
        ValueError: If it is compressed, or its tensors are far larger than the file.
        Exception: Whatever torch raises for a damaged or hostile file, which may be of many kinds.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
                raise ValueError("it is compressed, which torch's files are not")
    with torch.serialization.safe_globals(list(allowed)):
        content = torch.load(path, map_location="cpu", weights_only=True)
    size = _tensor_bytes(content)
    if size > _NAMES * path.stat().st_size:
        raise ValueError(f"its tensors have {size:,} bytes, far more than the file itself")
    return content


def check_state(state: Any) -> dict[str, Tensor]:
    """Check that this is a mapping of names to dense floating-point tensors, and return it.

    Raises:
        ValueError: If it is anything else; it names the first thing that is wrong.
    """
    if not isinstance(state, dict):
        raise ValueError(f"it holds {type(state).__name__}, not a mapping of names to tensors")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{ascii(name)[:100]} is not the name of a tensor")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise ValueError(f"{ascii(name)[:100]} is not a plain tensor")
    return state


def _tensor_bytes(content: Any) -> int:
    """The bytes of all tensors if none were shared, in mappings and lists however deep."""
    total, waiting, seen = 0, [content], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            total += value.numel() * value.element_size()
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))  # a container may hold itself
            waiting += [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)
    return total
