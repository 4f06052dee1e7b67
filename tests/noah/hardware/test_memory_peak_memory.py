from __future__ import annotations

import mmap
import sys
from pathlib import Path

import pytest
import torch

from noah.hardware.memory import PeakMemory, process_peak

CPU = torch.device("cpu")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only there the memory in use can be told")


@linux
def test_work_that_needs_more_than_all_before_is_told_and_the_same_again_is_not() -> None:
    peak = process_peak()
    assert peak is not None
    in_use = int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 2**20
    size = int(peak - in_use + 128) * 2**20

    def work() -> float | None:
        with PeakMemory(CPU) as memory:
            torch.ones(size, dtype=torch.uint8)
        return memory.mebibytes

    grown = work()
    assert grown is not None
    assert 64 < grown < 192  # the collection of garbage before may have freed something
    assert process_peak() == pytest.approx(peak + grown, abs=1)
    again = work()
    assert again is None or again < 32  # what else the process does may add a little


@linux
def test_nothing_is_told_of_work_that_needs_nothing() -> None:
    with PeakMemory(CPU) as memory:
        sum(range(10))
    assert memory.mebibytes is None


def test_an_error_is_not_held_back() -> None:
    with pytest.raises(KeyError), PeakMemory(CPU):
        raise KeyError


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA")
def test_on_cuda_it_is_what_torch_held_at_its_peak() -> None:
    held = torch.ones(64 * 2**20, dtype=torch.uint8, device="cuda")
    with PeakMemory(held.device) as memory:
        torch.ones(32 * 2**20, dtype=torch.uint8, device="cuda")
    assert memory.mebibytes is not None
    assert 96 <= memory.mebibytes < 200
