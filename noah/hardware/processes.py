"""The processes of one command: this one alone, or several that a launcher such as torchrun or accelerate started.

    torchrun --nproc-per-node 2 -m -- noah_cli search --dataset digits
    accelerate launch --multi_gpu --num_processes 2 -m noah_cli search --dataset digits

The -- keeps torchrun from taking our --run for an abbreviation of its own --run-path.

All of them run the same command. In a training each takes its share of every batch, and the gradients are added up, so
that all hold the same weights. In a search each is one worker more. The first alone writes the run folder and prints,
and where a decision hangs on the clock or on what lies on a disk, the others take over its decision.

This module loads torch only where there are several.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from noah.errors import ProcessError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

_PATIENCE = timedelta(days=7)
"""How long one waits for another, which may be downloading, decoding or choosing the winner. One that dies is noticed
at once by its closed connection or by the launcher."""
_LAUNCHER = "Start it with a launcher, as in: torchrun --nproc-per-node 2 -m -- noah_cli search --dataset digits"


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the command.

    Attributes:
        rank: Its number, from 0.
        count: Of all processes.
        local_rank: Its number among those on this machine, which is that of its GPU.
        local_count: Of those on this machine, which share its memory.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this one writes and prints."""
        return self.rank == 0

    def __str__(self) -> str:
        return f"process {self.rank + 1} of {self.count}"

    def of_first(self, value: Callable[[], T]) -> T:
        """What the first process makes of `value`, which the others do not call; all of them have to ask.

        Raises:
            ProcessError: If another process has stopped.
        """
        if self.count == 1:
            return value()
        import torch.distributed as dist

        sent = [value() if self.is_first else None]
        with self._together():
            dist.broadcast_object_list(sent, src=0)
        return sent[0]  # type: ignore[return-value]  # every process but the first held None until now

    def wait(self) -> None:
        """Wait until every process has come here.

        Raises:
            ProcessError: If another process has stopped.
        """
        if self.count > 1:
            import torch.distributed as dist

            with self._together():
                dist.all_gather_object([None] * self.count, None)  # over gloo, unlike a barrier, wherever tensors are

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """The `with` block in the first process, then in all others, which find what it downloaded.

        Raises:
            ProcessError: If another process has stopped.
        """
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, the same bits in all of them.

        Args:
            tensors: On one device and of one dtype; all processes give the same shapes in the same order.

        Raises:
            ProcessError: If another process has stopped.
        """
        if self.count == 1 or not tensors:
            return
        import torch
        import torch.distributed as dist

        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        with self._together():
            dist.all_reduce(flat)
        start = 0
        for tensor in tensors:
            tensor.copy_(flat[start : start + tensor.numel()].view_as(tensor))
            start += tensor.numel()

    @contextmanager
    def _together(self) -> Iterator[None]:
        """The group of all processes, which is made the first time; its errors in words."""
        import torch
        import torch.distributed as dist

        try:
            if not dist.is_initialized():
                backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
                dist.init_process_group(backend, timeout=_PATIENCE)
            yield
        except (RuntimeError, ValueError) as error:  # what gloo, NCCL and the rendezvous raise
            cause = (str(error).splitlines() or [type(error).__name__])[0]
            raise ProcessError(
                f"Another process of this command has stopped, or cannot be reached ({self}): {cause}",
                "Its own message says why. Then go on with --resume, and the same launcher.",
            ) from error


ALONE = Processes()
"""What there is without a launcher."""


def launched_processes() -> Processes:
    """The processes that the launcher's environment variables tell of.

    Raises:
        UsageError: If these contradict each other.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count == "1":
        return ALONE
    try:
        local_rank, local_count = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
        found = Processes(int(os.environ["RANK"]), int(count), local_rank, local_count)
    except (KeyError, ValueError) as error:
        problem = f"WORLD_SIZE is {count!r}, and the variables beside it do not fit it: {error}."
        raise UsageError(problem, _LAUNCHER) from error
    if not 0 <= found.rank < found.count:
        raise UsageError(f"RANK is {found.rank}, and WORLD_SIZE {found.count}.", _LAUNCHER)
    return found


def leave() -> None:
    """End the group of processes, if there is one; each does so at the end of a command that went well."""
    if launched_processes().count > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
