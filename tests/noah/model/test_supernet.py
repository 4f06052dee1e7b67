"""The supernet: where it starts, what is trained, what dropout touches."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from timm.models.vision_transformer import VisionTransformer

from noah.errors import SettingsError, UnsupportedBackboneError
from noah.model.supernet import Supernet, slice_trainable_state
from noah.space.subnet import Subnet
from tests.noah.architectures import ARCHITECTURES, SIZE, images_for, make_backbone, make_supernet, relative
from tests.noah.plain import plain_forward
from tests.noah.strategies import subnets

LARGEST = Subnet.uniform(4, prompt=4, lora=3, adapter=5)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_at_step_0_a_subnet_without_prompts_is_the_backbone(kind: str) -> None:
    backbone = make_backbone(kind)
    images = images_for(backbone)
    expected = backbone(images)
    depth = len(backbone.blocks)
    supernet = Supernet(backbone, Subnet.uniform(depth, prompt=4, lora=3, adapter=5)).eval()
    for subnet in (Subnet.uniform(depth), Subnet.uniform(depth, lora=3, adapter=5), Subnet.uniform(depth, lora=1)):
        assert relative(supernet(images, subnet), expected) < 1e-6


@given(subnet=subnets(4, prompt=0))
@settings(max_examples=25, deadline=None)
def test_at_step_0_any_subnet_without_prompts_is_the_backbone_in_float32(subnet: Subnet) -> None:
    backbone = make_backbone("LayerScale").float()
    images = images_for(backbone).float()
    expected = backbone(images)
    assert relative(Supernet(backbone, LARGEST).eval()(images, subnet), expected) < 1e-6


def test_only_modules_and_head_are_trained() -> None:
    supernet = make_supernet("LayerScale").train()
    supernet(images_for(supernet.backbone), LARGEST).sum().backward()
    trained = {name for name, parameter in supernet.named_parameters() if parameter.grad is not None}
    assert trained == {name for name in supernet.state_dict() if not name.startswith("backbone.")}
    assert set(supernet.trainable_state()) == trained


def test_trained_size_is_the_subnet_s_parameter_count() -> None:
    subnet = Subnet(prompt=[2, 0, 1, 0], lora=[0, 3, 0, 1], adapter=[5, 0, 0, 2])
    supernet = Supernet(make_backbone("class token"), subnet)
    modules = sum(value.numel() for name, value in supernet.trainable_state().items() if not name.startswith("head."))
    assert modules == subnet.parameter_count(SIZE["embed_dim"])


def test_the_backbone_stays_in_evaluation_mode() -> None:
    backbone = VisionTransformer(**SIZE, drop_path_rate=0.5, proj_drop_rate=0.5, pos_drop_rate=0.5)
    supernet = Supernet(backbone, LARGEST).train()
    assert supernet.training
    assert not any(module.training for module in backbone.modules())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(supernet(images, LARGEST), supernet(images, LARGEST))


@pytest.mark.parametrize("rates", [{"dropout": 0.5}, {"drop_path": 0.9}])
def test_dropout_and_drop_path_act_in_training_only(rates: dict[str, float]) -> None:
    supernet = Supernet(make_backbone("class token"), LARGEST, **rates)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.5)
    images = images_for(supernet.backbone)
    supernet.train()
    assert not torch.equal(supernet(images, LARGEST), supernet(images, LARGEST))
    supernet.eval()
    assert relative(supernet(images, LARGEST), plain_forward(supernet, images, LARGEST)) < 1e-9


def test_prompt_dropout_is_drawn_once_a_batch_or_for_each_image() -> None:
    only_prompts = Subnet.uniform(4, prompt=4)
    image = images_for(make_backbone("class token"), 1).expand(2, -1, -1, -1)
    for per_image in (False, True):
        supernet = Supernet(
            make_backbone("class token"), only_prompts, dropout=0.5, prompt_dropout_per_image=per_image
        ).train()
        first, second = supernet(image, only_prompts)
        assert torch.allclose(first, second) is not per_image


def test_drop_path_rises_from_zero_to_its_rate() -> None:
    assert Supernet(make_backbone("class token"), LARGEST, drop_path=0.3).drop_path_rates == pytest.approx(
        [0.0, 0.1, 0.2, 0.3]
    )


def test_the_first_rows_start_a_smaller_supernet() -> None:
    supernet = make_supernet("LayerScale")
    subnet = Subnet(prompt=[2, 0, 1, 3], lora=[0, 3, 2, 1], adapter=[5, 1, 0, 2])
    smaller = Supernet(supernet.backbone, subnet).eval()
    smaller.load_trainable_state(slice_trainable_state(supernet, subnet))
    images = images_for(supernet.backbone)
    assert relative(smaller(images, subnet), supernet(images, subnet)) < 1e-12


def test_a_fresh_head_is_small_and_unbiased() -> None:
    supernet = Supernet(make_backbone("class token"), LARGEST, num_classes=11)
    assert supernet.num_classes == 11
    assert not supernet.head.bias.any()
    assert 0 < supernet.head.weight.std() < 0.03


def test_refusals() -> None:
    with pytest.raises(SettingsError, match="3 blocks"):
        Supernet(make_backbone("class token"), Subnet.uniform(3))
    with pytest.raises(SettingsError, match="num_classes"):
        Supernet(VisionTransformer(**{**SIZE, "num_classes": 0}), LARGEST)
    with pytest.raises(UnsupportedBackboneError):
        Supernet(torch.nn.Linear(3, 3), LARGEST)
    supernet = make_supernet("class token")
    with pytest.raises(SettingsError, match="does not fit"):
        supernet(images_for(supernet.backbone), Subnet.uniform(4, adapter=6))
    with pytest.raises(SettingsError, match="surprise"):
        supernet.load_trainable_state({**supernet.trainable_state(), "surprise": torch.zeros(1)})
