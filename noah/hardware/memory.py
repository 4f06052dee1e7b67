"""How much memory is free, and how much a piece of work used at its peak, if the system can tell."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import psutil

from noah.hardware.control_groups import control_groups

if TYPE_CHECKING:  # reading images needs no torch
    import torch

_LIMITS = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    ("memory.limit_in_bytes", "memory.usage_in_bytes", "memory.stat", "total_inactive_file"),
)
"""Where versions 2 and 1 of control groups keep the limit, what is used, and how much of that can be given up."""


def available_memory(groups: Callable[[str], tuple[Path, ...]] = control_groups) -> int:
    """Bytes that can be taken without swapping: the machine's, or what a container's limit leaves if that is less.

    Args:
        groups: Gives the folders of a controller's groups, of which psutil knows nothing.
    """
    free = int(psutil.virtual_memory().available)
    for folder in groups("memory"):
        for limit, current, statistics, reclaimable in _LIMITS:
            if (folder / limit).is_file() and (text := (folder / limit).read_text().strip()) != "max":
                used = int((folder / current).read_text())
                # File contents that nobody reads count as used, but are given up when memory is asked for.
                pages = dict(line.split() for line in (folder / statistics).read_text().splitlines())
                free = min(free, int(text) - used + int(pages.get(reclaimable, 0)))
    return max(free, 0)


def format_bytes(count: int) -> str:
    """Write a size for people to read, such as 12 KiB, 12 MiB or 3.4 GiB."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    if count < 2**30:
        return f"{count / 2**20:.0f} MiB"
    return f"{count / 2**30:,.1f} GiB"


MEBIBYTE = 2**20


class PeakMemory:
    """Measures the peak memory of the work inside a `with` block.

    On CUDA this is the most memory that torch held on the device, including the backbone. On a CPU the system only
    records the peak of the whole process, so this is the growth of that peak: the work needed at least that much more
    than before. If an earlier piece of work needed more, nothing can be said.

    Args:
        device: The device that the work runs on.

    Attributes:
        mebibytes: The peak in MiB, available after the block; None if it is not known.
    """

    def __init__(self, device: torch.device) -> None:
        self.mebibytes: float | None = None
        self._device = device
        self._before = 0.0

    def __enter__(self) -> Self:
        gc.collect()  # what an earlier piece of work left behind must not count
        if self._device.type == "cuda":
            import torch

            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        self._before = process_peak()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            import torch

            self.mebibytes = torch.cuda.max_memory_allocated(self._device) / MEBIBYTE
        elif self._device.type == "cpu":
            self.mebibytes = process_peak() - self._before or None


def process_peak() -> float:
    """The most MiB of main memory that this process has held since it began."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / MEBIBYTE
    import resource  # psutil tells no peak on other systems

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEBIBYTE if sys.platform == "darwin" else peak / 1024  # KiB on Linux, bytes on macOS


def gpu_memory() -> float:
    """All memory of this process's GPU, in MiB; there has to be one that CUDA knows."""
    import torch

    return float(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory) / MEBIBYTE
