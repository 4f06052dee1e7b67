"""Held weights change no bit of a training step, and are given back."""

from __future__ import annotations

import pytest
import timm
import torch
from torch.nn import functional as F

from noah.hardware import Hardware, Precision
from noah.held_weights import frozen_weights_held
from noah.subnet import Subnet
from noah.supernet import Supernet

pytestmark = pytest.mark.usefixtures("one_thread")

SUBNET = Subnet.uniform(6, prompt=3, lora=4, adapter=2)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = Supernet(timm.create_model("test_vit", img_size=32), SUBNET, num_classes=5)
        for parameter in made.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter, std=0.1)
        return made


def hardware(precision: Precision) -> Hardware:
    return Hardware(torch.device("cpu"), precision, 1, ())


def step(supernet: Supernet) -> list[torch.Tensor]:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with hardware("bf16").autocast():
        logits = supernet(images, SUBNET)
    trained = [parameter for parameter in supernet.parameters() if parameter.requires_grad]
    loss = F.cross_entropy(logits.float(), torch.tensor([0, 1, 2, 3]))
    return [logits, *torch.autograd.grad(loss, trained)]


def test_the_same_bits_forward_and_backward(supernet: Supernet) -> None:
    expected = step(supernet)
    with frozen_weights_held(supernet, hardware("bf16")):
        assert supernet.backbone.blocks[0].attn.qkv.weight.dtype == torch.bfloat16
        assert supernet.backbone.patch_embed.proj.weight.dtype == torch.bfloat16
        assert {p.dtype for p in supernet.parameters() if p.requires_grad} == {torch.float32}
        found = step(supernet)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_the_weights_come_back_whatever_happens(supernet: Supernet, precision: Precision) -> None:
    before = {name: value.clone() for name, value in supernet.state_dict().items()}
    with pytest.raises(KeyboardInterrupt), frozen_weights_held(supernet, hardware(precision)):
        raise KeyboardInterrupt
    after = supernet.state_dict()
    assert all(after[name].dtype == value.dtype and torch.equal(after[name], value) for name, value in before.items())


def test_nothing_happens_in_float32(supernet: Supernet) -> None:
    weight = supernet.backbone.blocks[0].attn.qkv.weight
    held = weight.data_ptr()
    with frozen_weights_held(supernet, hardware("fp32")):
        assert weight.data_ptr() == held
        assert weight.dtype == torch.float32
