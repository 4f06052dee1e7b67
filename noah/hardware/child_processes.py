"""Processes that this one starts on its machine: they end with it, and take turns with its GPUs."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def end_with(parent: int) -> None:
    """Leave Ctrl-C to the parent, and on Linux exit at once when the parent is gone; called in the child.

    A child that lived on would wait forever for its parent, and would keep the run's lock.

    Args:
        parent: The process number of the parent.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def gpus_in_turns(device: str, count: int) -> tuple[str | None, ...]:
    """The GPU of each process by its number, in turns; None without GPUs, or with a single one, which all share.

    Args:
        device: What they compute on, as in the settings of the hardware.
        count: The number of processes.
    """
    if device not in ("auto", "cuda"):
        return (None,) * count
    import torch  # not where a child only asks to end with its parent

    if torch.cuda.device_count() < 2:
        return (None,) * count
    visible = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(torch.cuda.device_count())))
    names = visible.split(",")
    return tuple(names[place % len(names)] for place in range(count))


def use_gpu(name: str | None) -> None:
    """Make one GPU the only one of this process, which must not have used any; None leaves all."""
    if name is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = name
