from __future__ import annotations

from typing import Any

import pytest
import timm
import torch

from noah.backbone.family import FAMILY, architectures_of_width, family_architectures, family_weights
from noah.backbone.nearest import nearest_covered
from noah.backbone.outline import outline
from noah.backbone.shapes import likest, the_only_one


def test_the_names_in_timms_source_are_those_that_timm_has() -> None:
    assert set(family_architectures()) == {name for module in FAMILY for name in timm.list_models(module=module)}
    known = {name for name in timm.list_pretrained() if name.split(".")[0] in family_architectures()}
    assert set(family_weights()) <= known
    derived = known - set(family_weights())  # from other weights, by a loop in timm's source
    assert all("quickgelu" in name or name.startswith("naflexvit_") for name in derived)


@pytest.mark.parametrize(
    "name", ["vit_small_patch14_dinov2", "vit_small_patch16_224", "test_vit2", "deit3_small_patch16_224"]
)
def test_an_outline_has_the_shapes_of_the_network(name: str) -> None:
    model: Any = timm.create_model(name, num_classes=0)
    shapes = {key: value.shape for key, value in model.state_dict().items()}
    found = outline(name)
    assert {key: value.shape for key, value in found.state_dict().items()} == shapes
    assert all(value.is_meta for value in found.parameters())
    assert name in architectures_of_width(model.embed_dim)


@pytest.mark.parametrize("name", ["vit_small_patch14_dinov2", "vit_small_patch14_reg4_dinov2", "test_vit", "test_vit2"])
def test_weights_of_one_architecture_are_recognized(name: str) -> None:
    found = likest(outline(name).state_dict())
    assert (found[0].architecture, found[0].share, found[0].same_grid) == (name, 1, True)
    assert the_only_one(found) == name


def test_what_shapes_do_not_tell_is_left_open() -> None:
    found = likest(outline("vit_small_patch16_224").state_dict())
    assert {"vit_small_patch16_224", "deit_small_patch16_224"} <= {one.architecture for one in found if one.share == 1}
    assert the_only_one(found) is None


def test_a_few_other_weights_do_not_hide_the_likeness() -> None:
    state = outline("test_vit").state_dict()
    assert the_only_one(likest({**state, "extra": torch.ones(2)})) is None
    assert likest({**state, "extra": torch.ones(2)})[0].architecture == "test_vit"
    assert likest({"a": torch.ones(2)}) == []


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "convnext_tiny", "hiera_tiny_224"])
def test_windows_and_pyramids_lead_to_what_works(name: str) -> None:
    near = nearest_covered(name)
    assert near in family_architectures()
    ours, theirs = (sum(weight.numel() for weight in outline(one).parameters()) for one in (str(near), name))
    assert 0.5 < ours / theirs < 2
