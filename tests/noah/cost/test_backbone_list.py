from __future__ import annotations

from typing import Any

import pytest
import timm
from packaging.version import Version

from noah.backbone.architecture import Architecture
from noah.backbone.family import family_architectures
from noah.backbone.outline import outline, outlines
from noah.backbone.supported import unsupported_parts
from noah.cost.backbone_list import list_backbones, matching_architectures
from noah.cost.image_cost import cheaper_size, size_advice
from noah.cost.macs import backbone_macs
from noah.errors import UsageError


def test_a_pattern_names_vision_transformers_first() -> None:
    assert matching_architectures(None) == list(family_architectures())
    assert matching_architectures("vit_small_patch14_*") == [
        "vit_small_patch14_dinov2",
        "vit_small_patch14_reg4_dinov2",
    ]
    assert matching_architectures("dinov2") == [name for name in family_architectures() if "dinov2" in name]
    assert matching_architectures("vit_base_patch16_224.mae") == ["vit_base_patch16_224"]
    assert matching_architectures("facebook/dinov2-small") == ["vit_small_patch14_dinov2"]
    assert "swin_tiny_patch4_window7_224" in matching_architectures("swin_tiny")
    with pytest.raises(UsageError, match="has no architecture that matches 'vitt_'"):
        matching_architectures("vitt_")


def test_a_row_says_what_the_architecture_is_and_costs() -> None:
    built: list[int] = []
    small, tiny = list_backbones(["vit_small_patch14_dinov2", "test_vit"], built.append)
    assert built == [1, 2]
    model: Any = outline("vit_small_patch14_dinov2")
    assert (small.covered, small.reason, small.nearest) == (True, "", None)
    assert small.parameters == sum(weight.numel() for weight in model.parameters())
    assert (small.image_size, small.tokens, small.macs) == ((518, 518), 1370, backbone_macs(model, 0))
    assert small.cheaper is not None
    assert (small.cheaper.side, small.cheaper.tokens) == (224, 257)
    assert small.weights == ("lvd142m",)
    assert (tiny.tokens, tiny.cheaper) == (101, None)
    assert {"architecture", "covered", "reason"} <= tiny.to_json().keys()


def test_what_is_refused_has_a_reason_and_something_near() -> None:
    (row,) = list_backbones(["swin_tiny_patch4_window7_224"])
    assert not row.covered
    assert row.reason == "; ".join(unsupported_parts(outline("swin_tiny_patch4_window7_224")))
    assert row.nearest is not None
    assert not unsupported_parts(outline(row.nearest))
    assert (row.tokens, row.macs) == (None, None)
    assert row.parameters


def test_a_smaller_size_is_recommended_where_the_own_one_is_dear() -> None:
    architecture = Architecture("vit_small_patch14_dinov2")
    with outlines():
        dear, usual = (timm.create_model(architecture.name, num_classes=0, img_size=side) for side in (518, 224))
    advice = size_advice(architecture, dear)
    assert advice == (
        "an image of 518 px is 1,370 tokens and 46.7 G multiply-accumulates; --image-size 224 makes it 257 tokens and "
        "6.1 G"
    )
    assert cheaper_size(architecture, usual) is None
    assert size_advice(architecture, usual) == ""


@pytest.mark.slow
def test_every_vision_transformer_of_timm_is_listed_and_every_refusal_explained() -> None:
    rows = list_backbones(matching_architectures(None))
    assert [row.architecture for row in rows] == list(family_architectures())
    assert sum(row.covered for row in rows) >= 240
    # timm 1.0.20 misspells an option of its blocks.
    unbuilt = {"eva02_enormous_patch14_clip_224"} if Version(timm.__version__) < Version("1.0.23") else set()
    for row in rows:
        assert row.covered != bool(row.reason), row.architecture
        if row.architecture in unbuilt:
            assert row.reason.startswith("timm cannot build it")
            continue
        assert row.parameters, row.architecture
        assert row.covered or row.nearest, row.architecture
        assert not row.covered or (row.tokens and row.macs), row.architecture
