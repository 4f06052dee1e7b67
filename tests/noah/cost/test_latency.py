"""Timing in turns, with a clock that the networks themselves move."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from noah.cost.latency import ROUNDS, median_seconds, relative_latency
from noah.hardware.device import Hardware
from noah.progress import Detail, Silent
from noah.space.subnet import Subnet

CPU = Hardware(torch.device("cpu"), "fp32", 1, ())


class Counted:
    """A bar that keeps what it is told."""

    def __init__(self) -> None:
        self.done: list[float] = []

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        self.done.append(done)


def test_medians_of_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """One slow moment, and the first calls, which are slow, leave no trace."""
    now = 0.0
    calls: list[str] = []

    def network(name: str, seconds: float) -> Callable[[Tensor], Tensor]:
        def run(images: Tensor) -> Tensor:
            nonlocal now
            calls.append(name)
            now += 50.0 if calls.count(name) in (1, 2, 7) else seconds
            return images

        return run

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    bar = Counted()
    seconds = median_seconds([network("a", 2.0), network("b", 3.0)], torch.zeros(1), CPU, bar)
    assert seconds == pytest.approx([2.0, 3.0])
    assert bar.done == [0, 0, *range(1, ROUNDS + 1)]
    rounds = [calls[start : start + 2] for start in range(0, len(calls), 2)]
    assert len(rounds) == ROUNDS + 2
    assert rounds[:4] == [["b", "a"], ["a", "b"], ["b", "a"], ["a", "b"]]


@pytest.mark.usefixtures("one_thread")
def test_a_network_with_much_more_to_do_takes_longer() -> None:
    heavy = Subnet.uniform(6, prompt=400)
    assert relative_latency("test_vit", (32, 32), 3, heavy, CPU, Silent()) > 1.5


def test_in_bfloat16_too() -> None:
    hardware = Hardware(torch.device("cpu"), "bf16", 1, ())
    assert relative_latency("test_vit", (32, 32), 3, Subnet.uniform(6, adapter=4, prompt=2), hardware, Silent()) > 0
