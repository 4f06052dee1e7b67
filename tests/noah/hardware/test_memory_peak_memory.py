from __future__ import annotations

import mmap
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch

from noah.hardware.memory import PeakMemory, process_peak

CPU = torch.device("cpu")
linux = pytest.mark.skipif(sys.platform != "linux", reason="only there the memory in use can be told")


def peaks_of_equal_work() -> tuple[float, float | None, float, float | None]:
    """The peak before, what each of two equal works needed beyond it, and the peak between them, in MiB."""
    peak = process_peak()
    in_use = int(Path("/proc/self/statm").read_text().split()[1]) * mmap.PAGESIZE / 2**20
    size = int(peak - in_use + 128) * 2**20

    def work() -> float | None:
        with PeakMemory(CPU) as memory:
            torch.ones(size, dtype=torch.uint8)
        return memory.mebibytes

    return peak, work(), process_peak(), work()


@linux
def test_work_that_needs_more_than_all_before_is_told_and_the_same_again_is_not() -> None:
    # In a process of its own: here the garbage of other tests may be freed at any moment, and much of it.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        peak, grown, between, again = process.submit(peaks_of_equal_work).result()
    assert grown is not None
    assert 64 < grown < 192  # what else the process frees or takes meanwhile
    assert between == pytest.approx(peak + grown, abs=1)
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
