from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from noah.backbone.outline import outlines
from noah.backbone.supported import untrained_backbone
from noah.errors import BackboneError, UnsupportedBackboneError


def test_the_architecture_at_a_size_with_a_head() -> None:
    backbone: Any = untrained_backbone("vit_tiny_patch16_224.augreg_in21k", (48, 32), 5)
    assert backbone.patch_embed.grid_size == (3, 2)
    assert backbone(torch.zeros(2, 3, 48, 32)).shape == (2, 5)
    assert not backbone.training
    assert not any(parameter.requires_grad for parameter in backbone.parameters())


def test_on_the_meta_device_it_takes_no_memory() -> None:
    with outlines():
        backbone = untrained_backbone("vit_small_patch14_dinov2", (56, 56), 10)
    assert {parameter.device.type for parameter in backbone.parameters()} == {"meta"}


@pytest.mark.parametrize("architecture", ["vit_of_old", "resnet18"])
def test_what_timm_cannot_build(architecture: str) -> None:
    with pytest.raises(
        BackboneError, match=rf"^timm {timm.__version__} cannot build the architecture {architecture}: "
    ):
        untrained_backbone(architecture, (32, 32), 3)


def test_what_the_method_does_not_cover() -> None:
    with pytest.raises(UnsupportedBackboneError):
        untrained_backbone("vit_small_patch16_18x2_224", (32, 32), 3)
