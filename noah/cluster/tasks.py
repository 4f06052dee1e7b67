"""Tasks on the machines of a cluster: placed, told of while they run, and repeated when their machine dies.

A task that fails by its own error has failed; it would fail again. One whose machine or process died is started again
somewhere else, and it is the task's own business to go on from what it stored.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from noah.cluster.attempts import Attempt, Outcome, attempt
from noah.cluster.deaths import Deaths, explain_death
from noah.cluster.reports import Report, Reporter, open_mailbox
from noah.cluster.resources import ONE_CORE, Resources, nobody_has
from noah.cluster.session import MOMENT, Cluster, Machines, count_slots, end_actors
from noah.progress import Listener

T = TypeVar("T")

_PATIENCE = 5.0
"""Seconds for tasks to end when the driver leaves."""
_AHEAD = 4
"""How many tasks wait at Ray besides those that run, so that no core is idle and a cluster that grows sees demand."""


@dataclass(frozen=True, slots=True)
class Task(Generic[T]):
    """A piece of work for one machine.

    Attributes:
        name: Its name for people and in `after`, unlike that of any other task.
        work: What to do, given a listener; has to be picklable, such as a `functools.partial` of a function of a
            module. It is called in the driver's working folder, if there is one of that path.
        resources: What it needs.
        after: The name of a task that has to be over before this one starts; None for none.
    """

    name: str
    work: Callable[[Listener], T]
    resources: Resources = ONE_CORE
    after: str | None = None


@dataclass(slots=True)
class _Running:
    """A task that Ray has, and where it said that it runs; empty until it does."""

    task: Task[Any]
    machine: str = ""
    latest: Report | None = None


def run_tasks(
    cluster: Cluster,
    tasks: Sequence[Task[T]],
    listener: Listener,
    *,
    title: str,
    unit: str = "tasks",
    refused: Callable[[Task[T]], Exception | None] = lambda _: None,
    told: Callable[[Report], object] = lambda _: None,
) -> Generator[Outcome[T]]:
    """Run tasks on all machines, those that join later included, and give each outcome as soon as it is there.

    Tasks start in their order as far as there is room. When the generator is closed, or Ctrl-C interrupts it, whatever
    still runs is ended. Close it before the cluster is left: one that is closed after another cluster was joined would
    end the whole process (Ray 2.48).

    Args:
        cluster: Where to.
        tasks: What to do; one that others come after has to stand before them.
        listener: Told of machines that died and what is done again; its bar counts tasks.
        title: The bar's title.
        unit: What a task is, in the plural.
        refused: Asked right before a task starts; an exception means that it fails with it instead.
        told: Receives what the tasks report.
    """
    ray = cluster.ray
    starter = ray.remote(max_retries=0)(_start)
    mailbox = open_mailbox(ray)
    waiting, over = list(tasks), set[str]()
    running: dict[Any, _Running] = {}
    deaths = {task.name: Deaths() for task in tasks}
    machines = Machines(cluster)
    hopeless, emptied = False, 0.0
    with listener.bar(title, len(tasks), unit) as bar:
        try:
            while waiting or running:
                there = machines.there()
                room = count_slots(there, waiting[0].resources) + _AHEAD - len(running) if waiting else 0
                for task in [task for task in waiting if task.after is None or task.after in over][: max(room, 0)]:
                    waiting.remove(task)
                    error = refused(task)
                    if error is not None:
                        over.add(task.name)
                        yield Outcome(task.name, error=error)
                        continue
                    placed = starter.options(name=task.name, **task.resources.options())
                    running[placed.remote(task.work, task.name, mailbox, str(Path.cwd()))] = _Running(task)
                if running and not hopeless and not count_slots(there, _largest(running)):
                    hopeless = True
                    listener.say(nobody_has(_largest(running)))
                ready, _ = ray.wait(list(running), timeout=MOMENT) if running else ([], [])
                if time.monotonic() - emptied >= MOMENT:
                    _pass_on(ray, mailbox, running, told)
                    emptied = time.monotonic()
                for reference in ready:
                    state = running.pop(reference)
                    name, given_up = state.task.name, False
                    try:
                        result: Attempt = ray.get(reference)
                    except ray.exceptions.RayError as error:
                        death = explain_death(ray, error, state.machine, machines)
                        if not deaths[name].count(death):
                            elsewhere = " on another machine" if death.lost else ""
                            listener.say(f"retry     {name}: {death.how}, so it is started again{elsewhere}")
                            waiting.insert(0, state.task)
                            continue
                        given_up = True
                        result = Attempt(error=deaths[name].give_up("It", death), account=str(error))
                    over.add(name)
                    where = machines.name(result.machine or state.machine)
                    yield result.outcome(name, where, int(deaths[name]) - given_up)
                bar.update(len(over), _summary(running))
            _pass_on(ray, mailbox, running, told)
        finally:
            _end(ray, list(running), mailbox)


def _start(work: Callable[[Listener], Any], name: str, mailbox: Any, folder: str) -> Attempt:
    """Do the work in a process of Ray's, after saying where."""
    import ray

    if Path(folder).is_dir():
        os.chdir(folder)
    machine = ray.get_runtime_context().get_node_id()
    reporter = Reporter(name, machine, partial(_send, mailbox))
    reporter.say(f"start     on {socket.gethostname()} ({machine[:6]})")
    return attempt(partial(work, reporter))


def _send(mailbox: Any, report: Report) -> None:
    mailbox.put.remote(report)


def _largest(running: dict[Any, _Running]) -> Resources:
    return max((state.task.resources for state in running.values()), key=lambda each: (each.gpus, each.memory))


def _pass_on(ray: Any, mailbox: Any, running: dict[Any, _Running], told: Callable[[Report], object]) -> None:
    """Empty the mailbox, and note where each task says that it runs."""
    by_name = {state.task.name: state for state in running.values()}
    for report in ray.get(mailbox.take.remote()):
        if (state := by_name.get(report.task)) is not None:
            state.machine, state.latest = report.machine, report
        told(report)


def _summary(running: dict[Any, _Running]) -> str:
    """What runs where, in a few words, and the latest of what is told."""
    at_work = [state for state in running.values() if state.machine]
    if not at_work:
        return "waiting for a machine" if running else ""
    machines = len({state.machine for state in at_work})
    told = [str(state.latest) for state in at_work if state.latest is not None and state.latest.done is not None]
    where = "" if machines == 1 else f" on {machines} machines"
    return f"{len(at_work)} running{where}" + (f"; {told[-1]}" if told else "")


def _end(ray: Any, references: list[Any], mailbox: Any) -> None:
    """End what still runs: first so that it can remove its scratch folders, and after a little while at once."""
    if not ray.is_initialized():  # the cluster was left, and all of it has ended
        return
    for force in (False, True):
        for reference in references:
            with suppress(Exception):  # one that ended meanwhile, or whose machine is gone
                ray.cancel(reference, force=force)
        with suppress(Exception):
            if references:
                _, references = ray.wait(references, num_returns=len(references), timeout=_PATIENCE)
    end_actors(ray, [mailbox])
