"""Where a process number means one process: a machine, or a container on it, until that is started again.

The name of a host does not tell: containers are made from one description and may all have the same, and each counts
its processes from 1.
"""

from __future__ import annotations

import secrets
import sys
import uuid
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")
_NAMESPACE = Path("/proc/self/ns/pid")
_OF_THIS_PROCESS = secrets.token_hex(8)


def process_space() -> str:
    """A name that two processes share only if each would find the other by its process number.

    Linux names its boot and the namespace of process numbers; where it does not, no other process shares the name.
    Other systems have no containers, so there the address of the network hardware tells the machine.
    """
    if sys.platform != "linux":
        return f"{uuid.getnode():012x}"
    try:
        return f"{_BOOT.read_text(encoding='ascii').strip()} {_NAMESPACE.readlink()}"
    except (OSError, ValueError):
        return _OF_THIS_PROCESS
