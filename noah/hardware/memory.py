"""How much memory is free, and how much a piece of work used at its peak, if the system can tell."""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:  # reading images does not need torch
    import torch

UNKNOWN = 4 * 2**30
"""The memory that is assumed to be free on systems other than Linux, in bytes."""

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """The bytes available without swapping: the machine's, or what a container's limit leaves if that is less.

    Args:
        meminfo: The kernel's memory table.
        cgroup: The folder of the container's control group, version 2.
    """
    free = UNKNOWN
    if meminfo.is_file():
        table = dict(line.split(":", 1) for line in meminfo.read_text().splitlines() if ":" in line)
        if "MemAvailable" in table:
            free = int(table["MemAvailable"].split()[0]) * 1024
    limit, current, statistics = (cgroup / name for name in ("memory.max", "memory.current", "memory.stat"))
    if limit.is_file() and (text := limit.read_text().strip()) != "max":
        used = int(current.read_text())
        # Cached file contents count as used, but are dropped when memory is needed.
        pages = dict(line.split() for line in statistics.read_text().splitlines())
        free = min(free, int(text) - used + int(pages.get("inactive_file", 0)))
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
        self._before: float | None = None

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
            after = process_peak()
            if self._before is not None and after is not None and after > self._before:
                self.mebibytes = after - self._before


def process_peak() -> float | None:
    """The peak of this process's main memory so far, in MiB; None if the system cannot tell."""
    if sys.platform == "win32":
        return None
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MEBIBYTE if sys.platform == "darwin" else peak / 1024  # KiB on Linux, bytes on macOS
