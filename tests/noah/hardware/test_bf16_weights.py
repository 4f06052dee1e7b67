"""Held weights change no bit of a training step or of a forward pass, and are given back."""

from __future__ import annotations

import pytest
import timm
import torch
from torch.nn import functional as F

from noah.hardware.bf16_weights import frozen_weights_held, with_rounded_weights
from noah.hardware.device import Hardware, Precision
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet

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


@pytest.mark.parametrize("subnet", [SUBNET, Subnet.uniform(6), Subnet([2, 0, 0, 1, 0, 3], [4] * 6, [0, 2] * 3)])
def test_rounded_once_for_good_gives_the_same_bits(supernet: Supernet, subnet: Subnet) -> None:
    images = torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    merged = merge(supernet.eval(), subnet)
    before = {name: value.clone() for name, value in [*merged.state_dict().items(), *supernet.state_dict().items()]}
    rounded = with_rounded_weights(merged, hardware("bf16"))
    with torch.inference_mode(), hardware("bf16").autocast():
        assert torch.equal(rounded(images), merged(images))
    dtypes = {layer.weight.dtype for layer in rounded.modules() if isinstance(layer, torch.nn.Linear)}
    assert dtypes == {torch.bfloat16}
    # A copy: neither the merged network nor the supernet, which shares weights with it, is touched.
    for name, value in [*merged.state_dict().items(), *supernet.state_dict().items()]:
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])


def test_in_float32_the_network_itself_is_given(supernet: Supernet) -> None:
    merged = merge(supernet.eval(), SUBNET)
    assert with_rounded_weights(merged, hardware("fp32")) is merged


def test_constants_that_are_factors_are_rounded_too(supernet: Supernet) -> None:
    """Keys and values of prompts, and the last block's absorbed matrices with its constant inputs; nothing else."""
    rounded = with_rounded_weights(merge(supernet.eval(), SUBNET), hardware("bf16"))
    narrow = {name for name, constant in rounded.named_buffers() if constant.dtype == torch.bfloat16}
    first = {f"blocks.{block}.attention.constant_{what}" for block in range(5) for what in ("keys", "values")}
    last = {f"blocks.5.attention.{name}" for name in ("key_weight", "value_weight", "constant_inputs")}
    assert narrow == first | last
