"""What is refused, by name and with its reason."""

from __future__ import annotations

import pytest
import timm
import torch
from timm.layers import PatchEmbed
from timm.models.vision_transformer import ParallelScalingBlock, ResPostBlock, VisionTransformer

from noah.backbone.supported import check_supported, unsupported_parts
from noah.errors import UnsupportedBackboneError
from tests.noah.architectures import ARCHITECTURES, SIZE, make_backbone


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_what_the_method_covers_is_taken(kind: str) -> None:
    assert unsupported_parts(make_backbone(kind)) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"global_pool": "map"}, "pooling 'map'"),
        ({"global_pool": "max"}, "pooling 'max'"),
        ({"global_pool": "avgmax"}, "pooling 'avgmax'"),
        ({"global_pool": ""}, "pooling ''"),
        ({"global_pool": "avg", "pool_include_prefix": True}, "pool_include_prefix"),
        ({"block_fn": ResPostBlock}, "block 0: its type is ResPostBlock"),
        ({"block_fn": ParallelScalingBlock}, "block 0: its type is ParallelScalingBlock"),
        ({"dynamic_img_pad": True, "dynamic_img_size": True}, "dynamic_img_pad"),
        ({"in_chans": 1}, "1 channels"),
    ],
)
def test_what_it_does_not_cover_is_refused_with_the_reason(options: dict[str, object], reason: str) -> None:
    backbone = VisionTransformer(**{**SIZE, **options})
    with pytest.raises(UnsupportedBackboneError) as caught:
        check_supported(backbone)
    assert reason in caught.value.problem
    assert caught.value.hint


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("resnet10t", "the architecture ResNet"),
        ("eva02_tiny_patch14_224", "the architecture Eva"),
        ("deit_tiny_distilled_patch16_224", "the architecture VisionTransformerDistilled"),
        ("vit_tiny_r_s16_p8_224", "the patch embedding HybridEmbed"),
    ],
)
def test_other_architectures_of_timm_are_refused_by_name(name: str, reason: str) -> None:
    with torch.device("meta"):
        backbone = timm.create_model(name)
    assert any(reason in found for found in unsupported_parts(backbone))


def test_another_patch_embedding_is_refused() -> None:
    class TwoSteps(PatchEmbed):
        pass

    assert "patch embedding TwoSteps" in unsupported_parts(VisionTransformer(**SIZE, embed_layer=TwoSteps))[0]


def test_all_reasons_are_told_at_once() -> None:
    backbone = VisionTransformer(**{**SIZE, "global_pool": "max", "in_chans": 4})
    assert len(unsupported_parts(backbone)) == 2
