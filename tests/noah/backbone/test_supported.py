"""What is refused, by name and with its reason."""

from __future__ import annotations

import inspect
from functools import partial

import pytest
import timm
from timm.layers import PatchEmbed, RmsNorm
from timm.models.eva import Eva
from timm.models.vision_transformer import ParallelScalingBlock, ParallelThingsBlock, ResPostBlock, VisionTransformer
from torch import nn

from noah.backbone.families.vision import unsupported_images
from noah.backbone.outline import outlines
from noah.backbone.supported import check_supported, unsupported_parts
from noah.errors import UnsupportedBackboneError
from tests.noah.architectures import ARCHITECTURES, LACKING, SIZE, make_backbone

NEW_FORMS = pytest.mark.skipif(
    "fuse_out_proj" not in inspect.signature(ParallelScalingBlock).parameters,
    reason="timm before 1.0.23 has neither differential attention nor one output projection of two branches",
)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_what_the_method_covers_is_taken(kind: str) -> None:
    assert unsupported_parts(make_backbone(kind)) == []


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"global_pool": "max"}, "pooling 'max'"),
        ({"global_pool": "avgmax"}, "pooling 'avgmax'"),
        ({"global_pool": ""}, "pooling ''"),
        ({"global_pool": "avg", "pool_include_prefix": True}, "pool_include_prefix"),
        ({"block_fn": ParallelThingsBlock}, "block 0: its type is ParallelThingsBlock"),
        pytest.param(
            {"attn_layer": "diff", "embed_dim": 48}, "block 0: its attention is DiffAttention", marks=NEW_FORMS
        ),
        pytest.param(
            {"block_fn": partial(ParallelScalingBlock, fuse_out_proj=True)},
            "block 0: attention and MLP share one output projection",
            marks=NEW_FORMS,
        ),
        (
            {"block_fn": ResPostBlock, "norm_layer": RmsNorm},
            "block 0: its norm behind the MLP is RmsNorm, not LayerNorm with weights",
        ),
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
        ("resnet10t", "it is a convolutional network"),
        ("convnext_atto", "it is a convolutional network"),
        ("swin_tiny_patch4_window7_224", "its attention stays inside windows"),
        ("hiera_tiny_224", "its attention stays inside windows"),
        ("samvit_base_patch16_224", "its attention stays inside windows"),
        ("naflexvit_base_patch16_gap", "it takes images of any shape"),
        ("xcit_nano_12_p16_224", "the architecture Xcit is none of timm's VisionTransformer, "),
    ],
)
def test_other_architectures_of_timm_are_refused_by_name(name: str, reason: str) -> None:
    with outlines():
        backbone = timm.create_model(name)
    assert any(reason in found for found in unsupported_parts(backbone))


@pytest.mark.skipif("Sapiens2" in LACKING, reason=LACKING.get("Sapiens2", ""))
def test_blocks_of_different_sizes_are_refused() -> None:
    """A width has one price in every block."""
    backbone = Eva(**SIZE, attn_type="rope", qkv_fused=False, num_kv_heads=(3, 1, 1, 3))
    assert unsupported_parts(backbone) == ["block 1 has layers of other sizes than block 0"]


def test_another_patch_embedding_is_refused() -> None:
    class TwoSteps(PatchEmbed):
        pass

    assert "patch embedding TwoSteps" in unsupported_parts(VisionTransformer(**SIZE, embed_layer=TwoSteps))[0]


def test_all_reasons_are_told_at_once() -> None:
    backbone = VisionTransformer(**{**SIZE, "global_pool": "max", "in_chans": 4})
    assert len(unsupported_parts(backbone)) == 2


def test_images_that_are_embedded_without_a_convolution_are_told_as_that() -> None:
    backbone = make_backbone(next(iter(ARCHITECTURES)))
    backbone.patch_embed = nn.Linear(3, 4)
    assert unsupported_images(backbone) == ["the patch embedding Linear is not one convolution"]
