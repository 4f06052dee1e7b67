"""A vision transformer's ONNX file, small and random: what the tests of precision and engines work on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from timm.models.vision_transformer import VisionTransformer

from export.artifact.records import Precision
from export.convert.precision import DEFAULT_OPSETS
from export.convert.to_onnx import write_onnx

SIZE = 16
CLASSES = 5


def write_small_vit(
    path: Path, opset_of: Precision = "fp32", *, raw_pixels: bool = False, probabilities: bool = False
) -> torch.nn.Module:
    """Write it in float32 with the operator set of a precision, and give the torch network."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = VisionTransformer(
            img_size=SIZE, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=CLASSES
        ).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.05 * torch.randn_like(parameter))
    network = _FromPixels(model) if raw_pixels else model
    write_onnx(
        network.eval(),
        path,
        height=SIZE,
        width=SIZE,
        raw_pixels=raw_pixels,
        probabilities=probabilities,
        opset=DEFAULT_OPSETS[opset_of],
    )
    return model


def random_images(count: int) -> np.ndarray:
    """float32 (count, 3, SIZE, SIZE)."""
    return np.random.default_rng(count).normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)


class _FromPixels(torch.nn.Module):
    """Takes pixels in 0..255, NHWC, as a network with the normalization folded in does."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.model(pixels.permute(0, 3, 1, 2) / 255)
