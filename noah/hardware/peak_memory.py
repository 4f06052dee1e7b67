"""How much memory a piece of work took at its peak."""

from __future__ import annotations

import gc
import sys
from types import TracebackType
from typing import Self

import torch

MEBIBYTE = 2**20


class PeakMemory:
    """Measures the work inside a `with` block.

    On CUDA it is the most memory that torch held there, backbone included. On a CPU the peak of the whole process is
    all that the system keeps, so it is by how much that peak grew: at least that much more than before was needed, and
    none is told where an earlier piece of work had needed more.

    Args:
        device: What the work runs on.

    Attributes:
        mebibytes: The figure, after the block; None where nothing can be told.
    """

    def __init__(self, device: torch.device) -> None:
        self.mebibytes: float | None = None
        self._device = device
        self._before: float | None = None

    def __enter__(self) -> Self:
        gc.collect()  # what an earlier piece of work left behind is not this one's
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
        self._before = process_peak()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._device.type == "cuda":
            self.mebibytes = torch.cuda.max_memory_allocated(self._device) / MEBIBYTE
        elif self._device.type == "cpu":
            after = process_peak()
            if self._before is not None and after is not None and after > self._before:
                self.mebibytes = after - self._before


def process_peak() -> float | None:
    """The most MiB of main memory that this process has held since it began; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEBIBYTE if sys.platform == "darwin" else peak / 1024  # KiB on Linux, bytes on macOS
