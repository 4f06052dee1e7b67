"""The merged network and the supernet against a plain forward, on every kind of backbone, for random subnets."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noah.errors import SettingsError
from noah.model.merge import merge
from noah.space.subnet import Subnet
from tests.noah.architectures import ARCHITECTURES, LACKING, images_for, make_supernet, relative
from tests.noah.plain import plain_forward
from tests.noah.strategies import subnets

BOUND = 1e-9
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NOTABLE = [
    Subnet.uniform(4),
    Subnet.uniform(4, prompt=4, lora=3, adapter=5),
    Subnet(prompt=[4, 0, 0, 3], lora=[0] * 4, adapter=[0] * 4),  # carried, then replaced in the last block
    Subnet(prompt=[2, 3, 0, 0], lora=[1] * 4, adapter=[0, 2, 0, 1]),  # carried to the end
    Subnet(prompt=[0, 0, 0, 2], lora=[0] * 4, adapter=[0] * 4),  # first brought by the last block
    Subnet(prompt=[0, 3, 0, 0], lora=[0, 0, 0, 2], adapter=[0, 0, 0, 4]),
]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_supernet_and_merge_agree_with_the_plain_forward(kind: str) -> None:
    supernet = make_supernet(kind)
    images = images_for(supernet.backbone)
    for subnet in NOTABLE if supernet.largest.depth == 4 else [Subnet.uniform(1), supernet.largest]:
        expected = plain_forward(supernet, images, subnet)
        assert relative(supernet(images, subnet), expected) < BOUND
        assert relative(merge(supernet, subnet)(images), expected) < BOUND


@given(
    kind=st.sampled_from([kind for kind in ARCHITECTURES if kind not in ("one block", *LACKING)]),
    subnet=subnets(4),
    batch=st.integers(1, 3),
)
@settings(max_examples=60, deadline=None)
def test_random_subnets_agree(kind: str, subnet: Subnet, batch: int) -> None:
    supernet = make_supernet(kind)
    images = images_for(supernet.backbone, batch)
    expected = plain_forward(supernet, images, subnet)
    assert relative(supernet(images, subnet), expected) < BOUND
    assert relative(merge(supernet, subnet)(images), expected) < BOUND


@pytest.mark.parametrize(
    "kind",
    [
        "class token",
        "average pooling",
        "norm before the blocks",
        "oblong",
        "hybrid",
        "hybrid that pads",
        "Perception Encoder",
        "BEiT",
    ],
)
def test_normalization_folds_into_the_patch_embedding(kind: str) -> None:
    supernet = make_supernet(kind)
    height, width = supernet.backbone.patch_embed.img_size
    pixels = torch.randint(0, 256, (3, height, width, 3), dtype=torch.uint8)
    mean, std = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (MEAN, STD))
    images = (pixels.permute(0, 3, 1, 2).double() / 255 - mean) / std
    folded = merge(supernet, NOTABLE[1], raw_pixels=(MEAN, STD))
    assert relative(folded(pixels), merge(supernet, NOTABLE[1])(images)) < BOUND


def test_in_float32_the_rounding_stays_small() -> None:
    supernet = make_supernet("LayerScale").float()
    images = images_for(supernet.backbone).float()
    assert relative(merge(supernet, NOTABLE[1])(images), supernet(images, NOTABLE[1])) < 1e-5


@pytest.mark.parametrize("kind", ["LayerScale", "no biases", "average pooling"])
def test_merging_leaves_the_supernet_as_it_was(kind: str) -> None:
    supernet = make_supernet(kind)
    before = copy.deepcopy(supernet.state_dict())
    trainable = {name for name, parameter in supernet.named_parameters() if parameter.requires_grad}
    merge(supernet, NOTABLE[1])
    assert {name for name, parameter in supernet.named_parameters() if parameter.requires_grad} == trainable
    assert all(torch.equal(value, before[name]) for name, value in supernet.state_dict().items())


def test_training_on_does_not_change_a_merged_network() -> None:
    supernet = make_supernet("LayerScale")
    images = images_for(supernet.backbone)
    merged = merge(supernet, NOTABLE[1])
    before = merged(images)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.requires_grad:
                parameter.add_(1.0)
    assert torch.equal(merged(images), before)


def test_merged_network_needs_no_gradients() -> None:
    merged = merge(make_supernet("class token"), NOTABLE[1])
    assert not any(parameter.requires_grad for parameter in merged.parameters())
    assert not any(module.training for module in merged.modules())


def test_without_modules_and_layer_scale_the_backbone_is_shared_not_copied() -> None:
    supernet = make_supernet("average pooling")
    merged = merge(supernet, Subnet.uniform(4))
    ours, theirs = merged.blocks[0], supernet.backbone.blocks[0]
    assert ours.mlp.fc1 is theirs.mlp.fc1
    assert ours.attention.qkv is theirs.attn.qkv


@given(kind=st.sampled_from(["LayerScale", "average pooling"]), subnet=subnets(4))
@settings(max_examples=20)
def test_an_absent_module_leaves_nothing_behind(kind: str, subnet: Subnet) -> None:
    merged = merge(make_supernet(kind), subnet)
    assert all(tensor.numel() for tensor in merged.state_dict().values())
    assert [block.adapter is not None for block in merged.blocks] == [width > 0 for width in subnet.adapter]


def test_a_subnet_that_does_not_fit_is_refused() -> None:
    with pytest.raises(SettingsError, match="does not fit"):
        merge(make_supernet("class token"), Subnet.uniform(4, lora=4))
    with pytest.raises(SettingsError, match="does not fit"):
        merge(make_supernet("class token"), Subnet.uniform(3))
