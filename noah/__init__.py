"""NOAH, Neural Prompt Search (Zhang, Zhou, Liu, 2022, arXiv 2206.04673): the method.

The public names are loaded when they are first used. Importing the package itself imports no heavy library, so an
exported artifact runs where torch is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from noah.version import __version__

if TYPE_CHECKING:
    from noah import errors
    from noah.backbone.load import load_backbone
    from noah.model.merge import merge
    from noah.model.published_weights import load_reference
    from noah.model.saved_modules import load
    from noah.model.supernet import Supernet
    from noah.space.search_space import SearchSpace
    from noah.space.subnet import Subnet

__all__ = [
    "SearchSpace",
    "Subnet",
    "Supernet",
    "__version__",
    "errors",
    "load",
    "load_backbone",
    "load_reference",
    "merge",
]

_PLACES = {
    "SearchSpace": "noah.space.search_space",
    "Subnet": "noah.space.subnet",
    "Supernet": "noah.model.supernet",
    "load": "noah.model.saved_modules",
    "load_backbone": "noah.backbone.load",
    "load_reference": "noah.model.published_weights",
    "merge": "noah.model.merge",
}
"""The module that defines each public name."""


def __getattr__(name: str) -> Any:
    """Load a public name on its first use (PEP 562)."""
    if name == "errors":
        return import_module("noah.errors")
    if name not in _PLACES:
        raise AttributeError(f"module 'noah' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """The public names, for completion in a shell."""
    return sorted(__all__)
