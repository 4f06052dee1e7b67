"""The formulas against what torch counts while the real networks run."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from timm.layers import RelPosMlp

from noah.backbone.outline import outlines
from noah.backbone.supported import untrained_backbone
from noah.cost.macs import backbone_macs, merged_macs
from noah.errors import SettingsError
from noah.model.merge import merge
from noah.space.kinds import PUBLISHED
from noah.space.subnet import Subnet
from tests.noah.architectures import ARCHITECTURES, LACKING, SIZE, images_for, make_backbone, make_supernet
from tests.noah.counted_work import counted_macs
from tests.noah.strategies import subnets

CLASSES = 7
KINDS = [kind for kind in ARCHITECTURES if kind not in ("one block", *LACKING)]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_plain_backbone(kind: str) -> None:
    backbone = make_backbone(kind).requires_grad_(False)  # torch's counter takes no leaf as a module's input
    networks = [module for module in backbone.modules() if isinstance(module, RelPosMlp)]
    # What a network of distances gives is the same for every image, and a runtime computes it once.
    positions = sum(counted_macs(network.mlp, network.rel_coords_log) for network in networks)
    assert backbone_macs(backbone, CLASSES) == counted_macs(backbone, images_for(backbone, 1)) - positions


@given(kind=st.sampled_from(KINDS), subnet=subnets(4), batch=st.integers(1, 2))
@example(kind="class token", subnet=Subnet([0, 3, 0, 0], [1] * 4, [2] * 4), batch=1)  # carried into the last block
@example(kind="average pooling", subnet=Subnet([2, 0, 0, 4], [0] * 4, [0] * 4), batch=1)  # carried, then replaced
@example(kind="query and key norm", subnet=Subnet([4] * 4, [3] * 4, [5] * 4), batch=2)  # keys are not absorbed
def test_the_merged_network(kind: str, subnet: Subnet, batch: int) -> None:
    supernet = make_supernet(kind)
    merged = merge(supernet, subnet)
    counted = counted_macs(merged, images_for(supernet.backbone, batch))
    assert batch * merged_macs(supernet.backbone, subnet, CLASSES) == counted


@given(kind=st.sampled_from(KINDS), subnet=subnets(4), more=subnets(4))
@settings(max_examples=50)
def test_wider_modules_in_the_same_blocks_are_no_less_work(kind: str, subnet: Subnet, more: Subnet) -> None:
    """In the same blocks: a prompt that a further block brings ends one that was carried on, which may be more work."""
    wider = Subnet(*([w and w + m for w, m in zip(subnet.widths(n), more.widths(n), strict=True)] for n in PUBLISHED))
    backbone = make_backbone(kind)
    assert merged_macs(backbone, wider, CLASSES) >= merged_macs(backbone, subnet, CLASSES)


def test_one_block() -> None:
    supernet = make_supernet("one block")
    for subnet in (Subnet.uniform(1), Subnet.uniform(1, prompt=3, adapter=2)):
        counted = counted_macs(merge(supernet, subnet), images_for(supernet.backbone, 1))
        assert merged_macs(supernet.backbone, subnet, CLASSES) == counted


def test_raw_pixels_cost_nothing_more() -> None:
    supernet = make_supernet("class token")
    subnet = Subnet.uniform(4, prompt=2, adapter=3)
    merged = merge(supernet, subnet, raw_pixels=((0.5,) * 3, (0.5,) * 3))
    pixels = torch.zeros(1, SIZE["img_size"], SIZE["img_size"], 3, dtype=torch.uint8)
    assert merged_macs(supernet.backbone, subnet, CLASSES) == counted_macs(merged, pixels)


def test_by_hand() -> None:
    """D 24, 3 heads, 16 patches of 8 x 8 pixels, class token, MLP 96, 4 blocks, 7 classes."""
    backbone = make_backbone("class token")
    ends = 16 * 192 * 24 + 24 * 7
    full = 17 * (4 * 24 * 24 + 2 * 24 * 96) + 2 * 17 * 17 * 24
    assert backbone_macs(backbone, 7) == ends + 4 * full
    last = 4 * 24 * 24 + 2 * 3 * 24 * 17 + 2 * 24 * 96
    assert merged_macs(backbone, Subnet.uniform(4, lora=3), 7) == ends + 3 * full + last
    adapters = merged_macs(backbone, Subnet.uniform(4, adapter=5), 7) - merged_macs(backbone, Subnet.uniform(4), 7)
    assert adapters == (3 * 17 + 1) * 2 * 24 * 5
    prompts = merged_macs(backbone, Subnet.uniform(4, prompt=2), 7) - merged_macs(backbone, Subnet.uniform(4), 7)
    assert prompts == 3 * 2 * 17 * 2 * 24 + 2 * 3 * 24 * 2


def test_shapes_alone_are_enough() -> None:
    """ViT-B/16 at 224 px has the 17.6 G multiply-accumulates that are published for it."""
    with outlines():
        backbone: Any = untrained_backbone("vit_base_patch16_224.orig_in21k", (224, 224), 1000)
    assert backbone_macs(backbone, 1000) == pytest.approx(17.6e9, rel=0.003)


def test_a_subnet_of_another_depth_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"^subnet: it has 3 blocks and the backbone has 4$"):
        merged_macs(make_backbone("class token"), Subnet.uniform(3), CLASSES)
