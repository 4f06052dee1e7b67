"""Gives a process back as it was: random states, threads and precision that a stage changed in torch."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from noah.hardware.cores import release_threads


@contextmanager
def as_found() -> Iterator[None]:
    """Put back what the `with` block changes for the whole process.

    A stage seeds torch's generators, sets the number of its threads and claims that many of the machine's cores, which
    is no matter to a command but is to a program with work of its own.
    """
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    uses_gpus = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]  # of torch
    on_gpus = torch.cuda.get_rng_state_all() if uses_gpus else None
    allowed = torch.backends.cudnn.allow_tf32
    try:
        yield
    finally:
        release_threads()
        torch.backends.cudnn.allow_tf32 = allowed
        torch.set_num_threads(threads)
        torch.set_rng_state(state)
        if on_gpus is not None:
            torch.cuda.set_rng_state_all(on_gpus)
