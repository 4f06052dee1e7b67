"""Measures the peak memory of a piece of work, in a process that does nothing else."""

from __future__ import annotations

import gc
import re
import sys
from collections.abc import Callable
from pathlib import Path

import torch

MEBIBYTE = 2**20
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def held(device: torch.device) -> float | None:
    """Give the MiB that torch holds on a GPU, or this process in main memory; None if the system does not say."""
    if device.type == "cuda":
        return torch.cuda.memory_allocated(device) / MEBIBYTE
    return _kilobytes("VmRSS")


def peak(device: torch.device, work: Callable[[], object]) -> float | None:
    """Do the work and give the most MiB held during it, with what was held before; None if the system does not say."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        work()
        return torch.cuda.max_memory_allocated(device) / MEBIBYTE
    if sys.platform != "linux":
        return None
    _CLEAR.write_text("5")  # resets the kernel's record of the peak
    work()
    return _kilobytes("VmHWM")


def _kilobytes(name: str) -> float | None:
    if not _STATUS.is_file():
        return None
    found = re.search(rf"{name}:\s+(\d+)", _STATUS.read_text())
    return int(found[1]) / 1024 if found else None
