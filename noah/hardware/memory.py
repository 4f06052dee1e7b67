"""How much memory is free, as far as the operating system tells."""

from __future__ import annotations

from pathlib import Path

UNKNOWN = 4 * 2**30
"""What is assumed to be free on systems other than Linux."""

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_memory(meminfo: Path = _MEMINFO, cgroup: Path = _CGROUP) -> int:
    """Bytes that can be taken without swapping: the machine's, or what a container's limit leaves if that is less.

    Args:
        meminfo: The kernel's table of memory.
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
        # File contents that nobody reads count as used, but are given up when memory is asked for.
        pages = dict(line.split() for line in statistics.read_text().splitlines())
        free = min(free, int(text) - used + int(pages.get("inactive_file", 0)))
    return max(free, 0)


def format_bytes(count: int) -> str:
    """A size for people: 12 KiB, 12 MiB, 3.4 GiB."""
    if count < 2**20:
        return f"{count / 2**10:.0f} KiB"
    if count < 2**30:
        return f"{count / 2**20:.0f} MiB"
    return f"{count / 2**30:,.1f} GiB"
