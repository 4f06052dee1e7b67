"""Reads a pickled file of weights without running anything in it, and without using much more memory than its size.

torch's weights-only reader builds only tensors and plain values. It does not check two things: a file of a few bytes
may be compressed, although torch never compresses, or its tensors may be views of one repeated number.

Trainings leave their settings beside the weights, as objects of classes that the reader refuses. `SETTINGS` lets such
files in without those classes: in place of each object stands an empty one, which nothing in the file can make act.
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


class Setting:
    """Stands in for an object of settings: takes whatever a pickle gives it, keeps nothing and does nothing."""

    def __new__(cls, *_: object, **__: object) -> Setting:
        """Ignore the arguments."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def __setstate__(self, state: object) -> None:
        pass


SETTINGS = tuple(
    (Setting, name)
    for name in (
        "argparse.Namespace",
        "types.SimpleNamespace",
        *(
            f"{module}.{path}"
            for module in ("pathlib", "pathlib._local")
            for path in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath")
        ),
        *("datetime.datetime", "datetime.date", "datetime.timedelta"),
        *(f"numpy.{core}.multiarray.{made}" for core in ("core", "_core") for made in ("scalar", "_reconstruct")),
        *("numpy.dtype", "numpy.ndarray"),
        *(f"omegaconf.{made}" for made in ("dictconfig.DictConfig", "listconfig.ListConfig")),
        *(f"omegaconf.base.{made}" for made in ("ContainerMetadata", "Metadata")),
        *(f"omegaconf.nodes.{kind}Node" for kind in ("Any", "String", "Integer", "Float", "Boolean")),
        "typing.Any",
    )
)
"""The classes and functions of settings that trainings leave beside weights, for `load_plain`; none of them is used."""


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
