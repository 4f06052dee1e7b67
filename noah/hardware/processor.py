"""What the processor of this machine is called."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def processor_name(cpuinfo: Path = _CPUINFO) -> str:
    """Give the product name of the processor, or at least its architecture.

    Args:
        cpuinfo: Where Linux tells it.
    """
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        names = {line.partition(":")[2].strip() for line in lines if line.startswith("model name")}
        if names:
            return ", ".join(sorted(names))
    if platform.system() == "Darwin":
        asked = subprocess.run(
            ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False
        )
        if asked.stdout.strip():
            return asked.stdout.strip()
    return platform.processor() or platform.machine() or "unknown"
