from __future__ import annotations

import pytest
import torch

from noah.backbone.families.registry import view_of
from noah.backbone.features import image_features
from tests.noah.architectures import ARCHITECTURES, images_for, make_backbone


@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if kind != "distilled"])  # which has two heads
def test_the_backbones_own_head_reads_them(kind: str) -> None:
    backbone = make_backbone(kind).eval()
    head = view_of(backbone).own_head()
    if head is None:
        pytest.skip("it has no head of its own")
    images = images_for(backbone)
    features = image_features(backbone, images)
    assert features.shape == (len(images), view_of(backbone).head_inputs)
    with torch.no_grad():
        expected = backbone(images)
        assert torch.allclose(head(features), expected, atol=1e-5 * float(expected.abs().max()))
