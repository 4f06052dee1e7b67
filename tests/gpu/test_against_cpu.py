"""Supernet and merged networks on the device against the supernet on the CPU, in float32 and in bfloat16."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.step_ways import Setting, pair
from benchmarks.steps import random_subnets
from noah.hardware.bf16_weights import frozen_weights_held, with_rounded_weights
from noah.hardware.device import Hardware, Precision, choose_hardware
from noah.model.compiled import CompiledForward
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.settings.settings import HardwareSettings
from noah.space.subnet import Subnet
from noah.training.step import Step

pytestmark = pytest.mark.gpu

BOUNDS = {"fp32": 1e-4, "bf16": 0.04}
"""Of the largest difference, by the largest value; TF32 would exceed the first."""


@pytest.fixture(scope="module")
def on_cpu(setting: Setting) -> Supernet:
    """With weights of the modules that change the logits far more than rounding does."""
    supernet = pair(setting, 0.0)[1]
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.requires_grad:
                parameter *= 3
    return supernet


@pytest.fixture(scope="module")
def on_device(on_cpu: Supernet, device: torch.device) -> Supernet:
    return copy.deepcopy(on_cpu).to(device)


def hardware_of(device: torch.device, precision: Precision) -> Hardware:
    return choose_hardware(HardwareSettings(device=device.type, precision=precision, threads=torch.get_num_threads()))


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def subnets_of(setting: Setting) -> list[Subnet]:
    return [setting.search_space(setting.backbone()).largest, *random_subnets(setting, 2)]


def step_gradients(supernet: Supernet, hardware: Hardware, setting: Setting, subnet: Subnet) -> dict[str, Tensor]:
    images, labels = (tensor.to(hardware.device) for tensor in setting.batch())
    supernet.zero_grad(set_to_none=True)
    with frozen_weights_held(supernet.train(), hardware):
        Step(supernet, hardware).add_gradients(images, labels, (subnet,))
    return {name: value.grad.cpu() for name, value in supernet.named_parameters() if value.grad is not None}


def device_logits(model: torch.nn.Module, hardware: Hardware, *inputs: object) -> Tensor:
    with torch.inference_mode(), hardware.autocast():
        logits: Tensor = model(*inputs)
    return logits.float().cpu()


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_logits(
    on_cpu: Supernet, on_device: Supernet, setting: Setting, device: torch.device, precision: Precision
) -> None:
    """Of the supernet and of the merged network; what a subnet adds to the backbone is more than the bound allows."""
    hardware = hardware_of(device, precision)
    images = setting.batch()[0]
    on_device.eval()
    plain = device_logits(
        on_cpu.eval(),
        replace(hardware, device=images.device, precision="fp32"),
        images,
        Subnet.uniform(on_cpu.largest.depth),
    )
    for subnet in subnets_of(setting):
        with torch.inference_mode():
            expected = on_cpu(images, subnet)
        assert relative(plain, expected) > 2 * BOUNDS[precision]
        found = device_logits(on_device, hardware, images.to(device), subnet)
        assert relative(found, expected) < BOUNDS[precision]
        merged = with_rounded_weights(merge(on_device, subnet), hardware)
        assert relative(device_logits(merged, hardware, images.to(device)), expected) < BOUNDS[precision]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_gradients(
    on_cpu: Supernet, on_device: Supernet, setting: Setting, device: torch.device, precision: Precision
) -> None:
    hardware = hardware_of(device, precision)
    exact = Hardware(torch.device("cpu"), "fp32", torch.get_num_threads(), ())
    for subnet in subnets_of(setting)[:2]:
        expected = step_gradients(on_cpu, exact, setting, subnet)
        found = step_gradients(on_device, hardware, setting, subnet)
        assert found.keys() == expected.keys()
        one, other = (
            torch.cat([gradients[name].flatten().double() for name in expected]) for gradients in (found, expected)
        )
        assert F.cosine_similarity(one, other, dim=0) > (1 - 1e-6 if precision == "fp32" else 0.99)
        assert float(one.norm() / other.norm()) == pytest.approx(1, abs=BOUNDS[precision])


def test_compiled_blocks(device: torch.device) -> None:
    """On the tiny backbone everywhere, because compiling takes long; by the compiler of the device."""
    tiny = Setting("tiny", "paper", torch.device("cpu"), 4, "fp32")
    supernet = pair(tiny, 0.0)[1].to(device)
    hardware = hardware_of(device, "fp32")
    images, labels = (tensor.to(device) for tensor in tiny.batch())
    compiled = CompiledForward(supernet.train())
    for subnet in random_subnets(tiny, 2):
        found = []
        for step in (Step(supernet, hardware), Step(supernet, hardware, compiled=compiled)):
            supernet.zero_grad(set_to_none=True)
            loss = step.add_gradients(images, labels, (subnet,))
            gradients = {n: p.grad.clone() for n, p in supernet.named_parameters() if p.grad is not None}
            found.append({"": loss} | gradients)
        plain, fast = found
        assert plain.keys() == fast.keys()
        for name, value in plain.items():
            assert (fast[name] - value).abs().max() < 1e-2 * value.abs().max() + 1e-6, name
