"""What a frozen backbone makes of images, without any head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


@torch.inference_mode()
def image_features(model: nn.Module, images: Tensor) -> Tensor:
    """Compute the pooled features that a head would read; of a distilled backbone, the mean of what its two heads read.

    Args:
        model: timm's network.
        images: Normalized images, (B, 3, H, W).

    Returns:
        (B, features).
    """
    network: Any = model
    features: Tensor = network.forward_head(network.forward_features(images), pre_logits=True)
    return features.flatten(1)
