"""A GPU whose memory has room for a few images only, played by a supernet that raises torch's error for more."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from noah.hardware.processes import Processes
from noah.model.supernet import Supernet
from noah.training.step import Step
from noah.training.within_memory import StepsWithinMemory
from tests.noah.tiny_training import CPU, SPACE, seven_images, trained_supernet

pytestmark = pytest.mark.usefixtures("one_thread")

TARGETS = torch.tensor([0, 1, 2, 2, 0, 1, 1])


@pytest.fixture
def supernet(tiny_backbone_file: Path) -> Supernet:
    return trained_supernet(tiny_backbone_file)


def with_room_for(supernet: Supernet, count: int) -> list[int]:
    """Give the supernet memory for so many images; the numbers that it is asked for are collected."""
    asked: list[int] = []

    def allocate(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        asked.append(len(arguments[0]))
        if len(arguments[0]) > count:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")

    supernet.register_forward_pre_hook(allocate)
    return asked


def gradients(steps: StepsWithinMemory) -> tuple[Tensor, dict[str, Tensor]]:
    loss = steps.add_gradients(seven_images(), TARGETS, (SPACE.largest,))
    found = {name: value.grad for name, value in steps.step.supernet.named_parameters() if value.grad is not None}
    return loss, {name: gradient.clone() for name, gradient in found.items()}


@pytest.mark.parametrize(("room", "parts", "tried"), [(7, 1, [7]), (4, 2, [7, 3, 4]), (2, 4, [7, 3, 1, 2, 2, 2])])
def test_the_gradients_are_those_of_the_batch_whatever_memory_has_room_for(
    supernet: Supernet, room: int, parts: int, tried: list[int]
) -> None:
    said: list[str] = []
    whole_loss, whole = gradients(StepsWithinMemory(Step(supernet, CPU), said.append))
    asked = with_room_for(supernet, room)
    steps = StepsWithinMemory(Step(supernet, CPU), said.append)
    loss, found = gradients(steps)
    assert asked == tried and steps.step.accumulation == parts
    assert whole.keys() == found.keys()
    torch.testing.assert_close(loss, whole_loss)
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-8)
    assert len(said) == parts.bit_length() - 1  # once for every halving
    if said:
        assert f"batches of 7 images are taken in {parts} parts from now on" in said[-1]
    del asked[:]
    gradients(steps)
    assert max(asked) <= room and len(asked) == parts  # the next step begins with what was learned


def test_gradients_of_a_step_that_failed_halfway_are_forgotten(supernet: Supernet) -> None:
    whole_loss, whole = gradients(StepsWithinMemory(Step(supernet, CPU), print))
    asked = with_room_for(supernet, 3)
    steps = StepsWithinMemory(Step(supernet, CPU, accumulation=2), print)
    loss, found = gradients(steps)  # the first part, of 3 images, had room, and the second, of 4, had not
    assert asked[:2] == [3, 4] and steps.step.accumulation == 4
    torch.testing.assert_close(loss, whole_loss)
    for name, gradient in whole.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-5, atol=1e-8)


def test_a_single_image_that_has_no_room_ends_it(supernet: Supernet) -> None:
    asked = with_room_for(supernet, 0)
    with pytest.raises(torch.OutOfMemoryError):
        gradients(StepsWithinMemory(Step(supernet, CPU), lambda text: None))
    assert asked[-1] == 1


def test_one_of_several_processes_does_not_begin_anew_alone(supernet: Supernet) -> None:
    with_room_for(supernet, 2)
    several = replace(CPU, processes=Processes(0, 2, 0, 2))
    said: list[str] = []
    with pytest.raises(torch.OutOfMemoryError):
        StepsWithinMemory(Step(supernet, several), said.append).add_gradients(
            seven_images()[:3], TARGETS, (SPACE.largest,)
        )
    assert said == []
