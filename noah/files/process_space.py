"""Names the space in which a process number is unique: a machine, or a container on it, until it is restarted.

The host name is not enough: containers are made from the same description and may all have the same name, and each
counts its processes from 1.
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
    """A name that two processes share only if each can find the other by its process number.

    On Linux it is made of the ids of the boot and of the namespace of process numbers; if these cannot be read, no
    other process shares the name. Other systems have no containers, so the network hardware's address identifies the
    machine.
    """
    if sys.platform != "linux":
        return f"{uuid.getnode():012x}"
    try:
        return f"{_BOOT.read_text(encoding='ascii').strip()} {_NAMESPACE.readlink()}"
    except (OSError, ValueError):
        return _OF_THIS_PROCESS
