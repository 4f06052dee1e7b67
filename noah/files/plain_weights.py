"""Reads a pickled file of weights without running anything in it, and without much more memory than the file has bytes.

torch's weights-only reader builds nothing but tensors and plain values. Two things it does not look at: a file of a few
bytes may be compressed, although torch never compresses, or hold tensors that are views of one number repeated.
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_NAMES = 4
"""How many names one weight may have: tied weights are in a file once."""


def load_plain(path: Path, allowed: Sequence[Any] = ()) -> Any:
    """The content of a `.pth` file, on the CPU.

    Args:
        path: The file.
        allowed: What it may ask for beside tensors and plain values, as torch's `safe_globals` takes it.

    Raises:
        ValueError: If it is compressed, or its tensors are larger than it.
        Exception: Whatever torch raises of a damaged or hostile file, of many kinds.
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
    """Give back a mapping of names to dense floating-point tensors.

    Raises:
        ValueError: If it is anything else; names the first that is wrong.
    """
    if not isinstance(state, dict):
        raise ValueError(f"it holds {type(state).__name__}, no mapping of names to tensors")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ValueError(f"{ascii(name)[:100]} is no name of a tensor")
        if value.layout != torch.strided or value.is_quantized or value.is_meta:
            raise ValueError(f"{ascii(name)[:100]} is no plain tensor")
    return state


def _tensor_bytes(content: Any) -> int:
    """Bytes of all tensors if each had its own; inside mappings and lists, however deep."""
    total, waiting, seen = 0, [content], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, Tensor):
            total += value.numel() * value.element_size()
        elif isinstance(value, dict | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))  # a container may hold itself
            waiting += [*value.keys(), *value.values()] if isinstance(value, dict) else list(value)
    return total
