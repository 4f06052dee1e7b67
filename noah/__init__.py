"""NOAH, Neural Prompt Search (Zhang, Zhou, Liu, 2022, arXiv 2206.04673): the method.

Importing this package imports no heavy library, so that an exported artifact can be run without torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from noah.version import __version__

if TYPE_CHECKING:  # It brings torch, which takes seconds.
    from torch import nn

    from noah.model.saved_modules import Classifier

__all__ = ["__version__", "load"]


def load(path: str | Path, *, backbone: nn.Module | str | None = None) -> Classifier:
    """Give the torch network of an artifact of format safetensors; see `noah.model.saved_modules.load`.

    Args:
        path: The artifact's folder, or its `modules.safetensors`.
        backbone: The backbone, or another name or file of it; None loads it by the name that the run used.
    """
    from noah.model.saved_modules import load as load_saved

    return load_saved(path, backbone=backbone)
