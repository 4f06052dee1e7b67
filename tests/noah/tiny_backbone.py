"""The tiny backbone, loaded from its file, and what it computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from noah.backbone.load import Backbone, load_backbone
from tests.conftest import TINY_ARCHITECTURE, TINY_IMAGE_SIZE

IMAGES = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def load(path: Path, **options: Any) -> Backbone:
    """The backbone of a file; `options` replace those that fit the tiny one."""
    defaults: dict[str, Any] = {"architecture": TINY_ARCHITECTURE, "image_size": TINY_IMAGE_SIZE}
    return load_backbone(str(path), **(defaults | options))


def features(model: nn.Module, images: Tensor = IMAGES) -> Tensor:
    """What a head would read, (B, D)."""
    loose: Any = model
    with torch.no_grad():
        result: Tensor = loose.forward_head(loose.forward_features(images), pre_logits=True)
    return result
