"""Other processes of this machine that work on a run's search beside this one, and end with it."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path

import torch

from noah.hardware.child_processes import end_with, gpus_in_turns, use_gpu
from noah.hardware.device import set_up
from noah.prepare.context import Materials, prepare
from noah.progress import Listener, Silent, counted
from noah.runs.folder import Run
from noah.settings.layers import Layer

_PATIENCE = 10.0
"""Seconds for all processes to end once there is nothing left to do, or once they were told to."""


@contextmanager
def local_workers(
    work: Callable[[Run, Materials], None], run: Run, materials: Materials, count: int, listener: Listener
) -> Iterator[None]:
    """Start processes that work on a run's search through its own record, until the `with` block ends.

    They share the cores that this process computes with, which goes on with its part meanwhile, unless somebody said
    how many threads each process has; then each has so many. If there are several GPUs, they take turns.

    Args:
        work: What they do, given the run and what it works with; a function of a module.
        run: The run.
        materials: What it works with.
        count: The number of processes, this one among them; 1 starts none.
        listener: Told how many there are, and of those that ended early, whose work the others take over.
    """
    if count == 1:
        yield
        return
    asked = materials.settings.hardware.threads
    threads = asked or max(1, materials.hardware.threads // count)
    why = "as asked for" if asked else f"a part of {materials.hardware.threads} each"
    listener.say(f"workers   {counted(count, 'processes')} with {counted(threads, 'threads')} ({why})")
    run.log("search", "workers", count=count, threads=threads)
    layer = Layer(
        source="--workers",
        values={
            "hardware": {
                "device": materials.hardware.device.type,
                "precision": materials.hardware.precision,
                "threads": threads,
            }
        },
    )
    context = multiprocessing.get_context("spawn")
    started = [
        context.Process(target=_begin, args=(work, str(run.folder), layer, os.getpid(), gpu), daemon=True)
        for gpu in gpus_in_turns(materials.hardware.device.type, count)[1:]
    ]
    torch.set_num_threads(threads)
    try:
        for process in started:
            process.start()
        yield
        _wait_for(started)
    finally:
        set_up(materials.hardware)
        _end(started, listener)


def _begin(work: Callable[[Run, Materials], None], folder: str, layer: Layer, parent: int, gpu: str | None) -> None:
    """Work on the search in a process of its own."""
    end_with(parent)
    use_gpu(gpu)
    run = Run(Path(folder))
    work(run, prepare(run.settings([layer]), Silent(), run=run))


def _wait_for(started: Sequence[BaseProcess]) -> None:
    """Give all of them together a little time to end."""
    until = time.monotonic() + _PATIENCE
    for process in started:
        if process.pid is not None:
            process.join(max(0.0, until - time.monotonic()))


def _end(started: Sequence[BaseProcess], listener: Listener) -> None:
    """End those that still run, and tell of those that ended by an error."""
    failed = sum(bool(process.exitcode) for process in started)
    if failed:
        listener.say(f"note      {counted(failed, 'workers')} ended early; the others did the rest.")
    for process in started:
        if process.is_alive():
            process.terminate()
    _wait_for(started)
    for process in started:
        if process.is_alive():
            process.kill()
