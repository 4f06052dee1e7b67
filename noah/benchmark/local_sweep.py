"""A sweep by several processes of this machine: whoever is free takes the next cells, until none is left."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import replace
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from noah.benchmark.cells import Cell
from noah.benchmark.rows import row_path
from noah.benchmark.sweep import Failure, keep_failure, run_sweep
from noah.benchmark.sweep_settings import SweepSettings, begin_sweep
from noah.errors import NoahError
from noah.hardware.child_processes import end_with, gpus_in_turns, use_gpu
from noah.hardware.cores import usable_cores
from noah.progress import Listener, Silent, counted
from noah.settings.layers import Layer

MOST_CRASHES = 3
"""Cells whose process died so often are given up: they may be what kills it."""
_TOLD = ("row ", "failed ")
"""What the lines begin with that a process hands on."""


class _Lines(Silent):
    """Keeps the lines that say what became of a cell."""

    def __init__(self) -> None:
        self.kept: list[str] = []

    def say(self, text: str) -> None:
        """Keep a line, if it is one of those."""
        if text.startswith(_TOLD):
            self.kept.append(text)


def run_sweep_in_processes(
    sweep: SweepSettings,
    cells: Sequence[Cell],
    folder: Path,
    listener: Listener,
    workers: int,
    finished: Callable[[], object] = lambda: None,
) -> list[Failure]:
    """Run every cell that has no row yet in several processes; otherwise as `noah.benchmark.sweep.run_sweep`.

    Cells of one run go to one process, in their order. A process that dies is replaced, and its cells go on from what
    is in the folder.

    Args:
        sweep: Gives the settings of each cell.
        cells: The cells to run.
        folder: The folder that gets `sweep.yaml`, `rows/` and `runs/`.
        listener: Told of each cell that is done or has failed.
        workers: The number of processes, which share the cores unless the settings say how many threads each has, and
            take turns with the GPUs.
        finished: Called after new rows.

    Returns:
        The cells that failed.

    Raises:
        SettingsError: If the settings are wrong, or not those that the folder's rows were made with.
    """
    begin_sweep(sweep, cells, folder, listener)
    groups: dict[Cell, list[Cell]] = {}
    for cell in cells:
        if not row_path(folder, cell).exists():
            groups.setdefault(cell.trained_by(sweep.suite.sources), []).append(cell)
    if not groups:
        return []
    asked = sweep.of_task(sweep.suite.tasks[0].name)[0].hardware.threads
    threads = asked or max(1, usable_cores().count // workers)
    listener.say(f"workers   {counted(workers, 'processes')} with {counted(threads, 'threads')} each")
    shared = Layer(source="--workers", values={"hardware": {"threads": threads}})
    each = replace(sweep, changes=(*sweep.changes, shared))
    failures: list[Failure] = []
    done = 0
    total = sum(map(len, groups.values()))
    gpus = gpus_in_turns(sweep.of_task(sweep.suite.tasks[0].name)[0].hardware.device, workers)
    outcomes = _run(each, list(groups.values()), folder, gpus, listener)
    with listener.bar("sweep", total, "cells") as bar, closing(outcomes):
        for group, outcome in outcomes:
            if isinstance(outcome, Exception):
                failures += [keep_failure(folder, cell, outcome, "") for cell in group]
                listener.say(f"failed    {group[0]}: {failures[-1].problem}")
            else:
                failures += outcome[0]
                for line in outcome[1]:
                    listener.say(line)
            done += len(group)
            bar.update(done)
            finished()
    return failures


_Outcome = tuple[list[Failure], list[str]] | Exception


def _run(
    sweep: SweepSettings, groups: Sequence[list[Cell]], folder: Path, gpus: Sequence[str | None], listener: Listener
) -> Generator[tuple[list[Cell], _Outcome]]:
    """Give each group with what came of it; after one process has died, all begin anew."""
    left = dict.fromkeys(range(len(groups)), 0)
    while left:
        with _pool(gpus) as pool:
            futures: dict[Future[tuple[list[Failure], list[str]]], int] = {}
            waiting = list(left)
            try:
                while waiting or futures:
                    while waiting and len(futures) < len(gpus):  # so that only these can have killed a process
                        place = waiting.pop(0)
                        futures[pool.submit(_cells, sweep, groups[place], folder)] = place
                    for future in wait(futures, return_when=FIRST_COMPLETED).done:
                        place = futures[future]
                        outcome = future.result()
                        del futures[future], left[place]
                        yield groups[place], outcome
            except BrokenProcessPool:
                for place in futures.values():
                    left[place] += 1
                    if left[place] < MOST_CRASHES:
                        listener.say(f"retry     {groups[place][0]}: a process died, so it is started again")
                for place in [place for place, crashes in left.items() if crashes >= MOST_CRASHES]:
                    del left[place]
                    problem = f"Processes died {MOST_CRASHES} times while they worked on it or beside it."
                    yield groups[place], NoahError(problem, "Let fewer run side by side: fewer --workers.")


@contextmanager
def _pool(gpus: Sequence[str | None]) -> Iterator[ProcessPoolExecutor]:
    """A process for each GPU; they end with the block, whatever they are doing if it ends by an error or Ctrl-C."""
    context = multiprocessing.get_context("spawn")
    left: SimpleQueue[str | None] = context.SimpleQueue()
    for gpu in gpus:
        left.put(gpu)
    pool = ProcessPoolExecutor(len(gpus), mp_context=context, initializer=_begin, initargs=(os.getpid(), left))
    try:
        yield pool
    except BaseException:
        for process in list(pool._processes.values()):  # Python 3.14 has a method for it
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(parent: int, gpus: SimpleQueue[str | None]) -> None:
    end_with(parent)
    use_gpu(gpus.get())


def _cells(sweep: SweepSettings, cells: Sequence[Cell], folder: Path) -> tuple[list[Failure], list[str]]:
    lines = _Lines()
    return run_sweep(sweep, cells, folder, lines), lines.kept
