"""Batches that the device has room for, images that live on it, and a training that runs out of memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmarks.step_ways import CLASSES, Setting, pair, synthetic_pixels
from noah.backbone.load import Backbone
from noah.data.pixels.device_pixels import DevicePixels, free_memory, place
from noah.evaluation.score import compute_logits
from noah.hardware.bf16_weights import with_rounded_weights
from noah.hardware.device import Hardware, choose_hardware
from noah.hardware.memory import PeakMemory
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.prepare.context import MEMORY_SHARE, choose_evaluation_batch
from noah.settings.settings import HardwareSettings
from noah.training.step import Step
from noah.training.within_memory import StepsWithinMemory

pytestmark = pytest.mark.gpu


@pytest.fixture
def hardware(device: torch.device) -> Hardware:
    return choose_hardware(HardwareSettings(device=device.type, threads=torch.get_num_threads()))


def test_evaluation_batches_are_sized_to_memory(backbone: Backbone, setting: Setting, hardware: Hardware) -> None:
    """A batch of the chosen size needs no more than the share of free memory that it was chosen for."""
    on_gpu = hardware.device.type == "cuda"
    torch.cuda.empty_cache()
    free = free_memory(hardware.device) if on_gpu else 2**26
    assert free is not None
    space = setting.search_space(backbone.model)
    chosen = choose_evaluation_batch(hardware, backbone, space, None if on_gpu else free)
    assert chosen is not None
    size = int(chosen.value)
    supernet = Supernet(backbone.model, space.largest, num_classes=CLASSES).to(hardware.device).eval()
    network = with_rounded_weights(merge(supernet, space.largest), hardware)
    pixels = synthetic_pixels(setting, size)
    with PeakMemory(hardware.device) as peak:
        before = torch.cuda.memory_allocated() if on_gpu else 0
        logits = compute_logits(network, pixels, pixels.preprocessing, hardware, size)
    assert logits.shape == (size, CLASSES) and np.isfinite(logits).all()
    if on_gpu:
        assert peak.mebibytes is not None
        assert peak.mebibytes * 2**20 - before < MEMORY_SHARE * free


def test_decoded_images_live_on_the_device(setting: Setting, device: torch.device) -> None:
    pixels = synthetic_pixels(setting, 12)
    placed = place(pixels, device)
    assert isinstance(placed, DevicePixels) == (device.type == "cuda")
    indices = np.array([7, 0, 11])
    batch = torch.as_tensor(placed.fetch(indices))
    assert batch.device.type == device.type
    assert np.array_equal(batch.cpu().numpy(), pixels.batch(indices))


@contextmanager
def half_the_room(step: Step, batch: tuple[Tensor, Tensor], subnets: Any) -> Iterator[None]:
    """Leave memory for about two thirds of what the whole batch needs; on the CPU, play it."""
    device, count = step.hardware.device, len(batch[1])
    if device.type == "cuda":
        step.supernet.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step.add_gradients(*batch, subnets)
        needed = torch.cuda.max_memory_allocated() - before
        step.supernet.zero_grad(set_to_none=True)
        torch.cuda.empty_cache()
        room = torch.cuda.memory_reserved() + 2 * needed // 3
        torch.cuda.set_per_process_memory_fraction(room / torch.cuda.get_device_properties(device).total_memory)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0)
        return

    def allocate(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if len(inputs[0]) > count // 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    hook = step.supernet.register_forward_pre_hook(allocate)
    yield
    hook.remove()


def test_a_training_that_runs_out_of_memory_goes_on(setting: Setting, hardware: Hardware) -> None:
    device = hardware.device
    model = pair(setting, 0.0)[1].to(device).train()
    generator = torch.Generator().manual_seed(3)
    images, labels = setting.batch()
    count = 64 if device.type == "cuda" else 8
    images = torch.randn(count, *images.shape[1:], generator=generator).to(device)
    labels = torch.randint(CLASSES, (count,), generator=generator).to(device)
    step = Step(model, hardware)
    subnets = (model.largest,)
    whole = step.add_gradients(images, labels, subnets)
    said: list[str] = []
    with half_the_room(step, (images, labels), subnets):
        steps = StepsWithinMemory(step, said.append)
        loss = steps.add_gradients(images, labels, subnets)
        again = steps.add_gradients(images, labels, subnets)
    assert said and steps.step.accumulation >= 2
    assert f"{steps.step.accumulation} parts" in said[-1]
    assert float(loss) == pytest.approx(float(whole), rel=1e-2)
    assert float(again) == pytest.approx(float(loss), rel=1e-2)
