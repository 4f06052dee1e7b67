"""The processes of one command: this one alone, or several that a launcher such as torchrun or accelerate started.

    torchrun --nproc-per-node 2 -m -- noah_cli search --dataset digits
    accelerate launch --multi_gpu --num_processes 2 -m noah_cli search --dataset digits

The -- keeps torchrun from taking our --run for an abbreviation of its own --run-path.

All of them run the same command. In a training each takes its share of every batch, and the gradients are added up, so
all have the same weights. In a search each is another worker. Only the first writes to the run folder and prints, and
if a decision depends on the clock or on what is on a disk, the others follow its decision.

This module only loads torch if there are several processes.
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
"""How long a process waits for another, which may be downloading, decoding or choosing the winner. If one dies, its
closed connection or the launcher reveals it at once."""
_LAUNCHER = "Start it with a launcher, as in: torchrun --nproc-per-node 2 -m -- noah_cli search --dataset digits"


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of the command.

    Attributes:
        rank: The number of this process, counted from 0.
        count: The number of all processes.
        local_rank: Its number among those on this machine, which is also the number of its GPU.
        local_count: The number of processes on this machine, which share its memory.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes and prints."""
        return self.rank == 0

    def __str__(self) -> str:
        return f"process {self.rank + 1} of {self.count}"

    def of_first(self, value: Callable[[], T]) -> T:
        """Call `value` in the first process only, and return its result in all of them; every process has to ask.

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
        """Wait until every process has reached this point.

        Raises:
            ProcessError: If another process has stopped.
        """
        if self.count > 1:
            import torch.distributed as dist

            with self._together():
                dist.all_gather_object([None] * self.count, None)  # unlike a barrier, always over gloo

    @contextmanager
    def first_goes_ahead(self) -> Iterator[None]:
        """Run the `with` block in the first process, then in all others, so that they find what it downloaded.

        Raises:
            ProcessError: If another process has stopped.
        """
        if not self.is_first:
            self.wait()
        yield
        if self.is_first:
            self.wait()

    def add_up(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over the processes; all of them get the same bits.

        Args:
            tensors: Tensors of one dtype on one device; all processes pass the same shapes in the same order.

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
        """Make the group of all processes on the first use, and turn its errors into ours."""
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
"""The only process, without a launcher."""


def launched_processes() -> Processes:
    """Read the launcher's environment variables.

    Raises:
        UsageError: If they contradict each other.
    """
    count = os.environ.get("WORLD_SIZE", "1")
    if count == "1":
        return ALONE
    try:
        local_rank, local_count = (int(os.environ[name]) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
        found = Processes(int(os.environ["RANK"]), int(count), local_rank, local_count)
    except (KeyError, ValueError) as error:
        problem = f"WORLD_SIZE is {count!r}, and the variables that go with it do not match: {error}."
        raise UsageError(problem, _LAUNCHER) from error
    if not 0 <= found.rank < found.count:
        raise UsageError(f"RANK is {found.rank}, and WORLD_SIZE {found.count}.", _LAUNCHER)
    return found


def leave() -> None:
    """Leave the group of processes, if there is one; each process does so at the end of a successful command."""
    if launched_processes().count > 1:
        import torch.distributed as dist

        if dist.is_initialized():
            dist.destroy_process_group()
