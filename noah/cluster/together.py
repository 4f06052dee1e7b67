"""Processes of a cluster that compute one thing together, as those that torchrun starts: each knows its rank.

They stand or fall together: if one dies, all are ended, and all are started again, which go on from what was kept.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from noah.cluster.attempts import Attempt, attempt
from noah.cluster.deaths import Death, Deaths, explain_death
from noah.cluster.reports import Report, Reporter, open_mailbox
from noah.cluster.resources import ONE_CORE, Resources
from noah.cluster.session import MOMENT, Cluster, Machines, count_slots, end_actors
from noah.errors import ProcessError
from noah.progress import Listener, Silent, counted

T = TypeVar("T")

_PATIENCE = 10.0
"""Seconds for the death of a process to be known after another has complained that it is gone."""
_FIRST = "first"
"""The name of the first process in what it reports."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a process runs, and a port that is free there."""

    machine: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Rank:
    """What one of the processes is given.

    Attributes:
        listener: Heard by the driver in the first process, and by nobody in the others.
        keep: Has the driver keep something, in the first process; nothing happens in the others.
    """

    listener: Listener
    keep: Callable[[bytes], None]


class _Ranked:
    """An actor: says where it is, and then works with the others."""

    def place(self) -> Place:
        """Where it runs."""
        import ray

        with socket.socket() as tried:
            tried.bind(("", 0))
            port = int(tried.getsockname()[1])
        return Place(ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address(), port)

    def work(self, work: Callable[[Rank], Any], variables: dict[str, str], mailbox: Any, folder: str) -> Attempt:
        """Do its share; only the first process reports."""
        import ray

        if Path(folder).is_dir():
            os.chdir(folder)
        os.environ.update(variables)
        if variables["RANK"] != "0":
            return attempt(partial(work, Rank(Silent(), lambda _: None)))
        machine = ray.get_runtime_context().get_node_id()
        reporter = Reporter(_FIRST, machine, lambda report: mailbox.put.remote(report), detailed=True)
        # Waits until it has arrived: what follows is lost if this process dies.
        return attempt(
            partial(work, Rank(reporter, lambda kept: ray.get(mailbox.put.remote(Report(_FIRST, machine, kept=kept)))))
        )


def work_together(
    cluster: Cluster,
    count: int,
    work: Callable[[], Callable[[Rank], T]],
    listener: Listener,
    *,
    resources: Resources = ONE_CORE,
    told: Callable[[Report], object] = lambda _: None,
    what: str = "processes",
) -> T:
    """Run the same work in several processes at once, and give what the first of them returned.

    Each finds the variables of torchrun in its environment (`noah.hardware.processes`). Ctrl-C ends them.

    Args:
        cluster: Where they run.
        count: How many there are.
        work: Gives what each of them does, which has to be picklable. Asked again whenever all are started again, so
            that it can go on from what was kept.
        listener: Told where they run, and of those that died.
        resources: What each of them needs.
        told: Receives what the first one reports and has kept.
        what: What they are, in the plural.

    Raises:
        Exception: What one of them raised itself.
        NoahError: If processes or machines die again and again.
    """
    machines, deaths, hopeless = Machines(cluster), Deaths(), False
    while True:
        with _Group(cluster.ray, machines, count, resources) as group:
            while not group.is_placed():
                room = count_slots(machines.there(), resources)
                if room < count and not hopeless:
                    hopeless = True
                    listener.say(
                        f"note      There is room for {room} of {counted(count, what)} ({resources} each); this waits "
                        "until machines join. Otherwise press Ctrl-C, and ask for fewer."
                    )
            machines.there(now=True)  # their names are wanted once they are gone
            came = group.run(work(), told, partial(_tell, listener, what, resources))
        if not isinstance(came, Death):
            return came.value  # type: ignore[no-any-return]  # what the work returned
        if deaths.count(came):
            raise deaths.give_up(f"The work of the {what}", came)
        listener.say(f"retry     {came.how}, so all {counted(count, what)} are started again")


class _Group:
    """The processes of one start; they end with the `with` block."""

    def __init__(self, ray: Any, machines: Machines, count: int, resources: Resources) -> None:
        self._ray, self._machines, self._resources, self._count = ray, machines, resources, count
        bundle = {"CPU": resources.cpus, "GPU": resources.gpus, "memory": float(resources.memory)}
        self._bundles = ray.util.placement_group(
            [{name: amount for name, amount in bundle.items() if amount}] * count, strategy="PACK"
        )
        self._mailbox = open_mailbox(ray)
        self._members: list[Any] = []

    def __enter__(self) -> _Group:
        return self

    def __exit__(self, *_: object) -> None:
        end_actors(self._ray, [*self._members, self._mailbox])
        with suppress(Exception):
            self._ray.util.remove_placement_group(self._bundles)

    def is_placed(self) -> bool:
        """Whether there is room for all of them at once; waits a little for it."""
        return bool(self._bundles.wait(MOMENT))

    def run(
        self,
        work: Callable[[Rank], Any],
        told: Callable[[Report], object],
        started: Callable[[Sequence[Place]], object],
    ) -> Attempt | Death:
        """Start them, and wait for the end of all, or the death of one.

        Raises:
            Exception: What one of them raised itself.
        """
        strategy = self._ray.util.scheduling_strategies.PlacementGroupSchedulingStrategy
        actor = self._ray.remote(max_restarts=0, max_task_retries=0)(_Ranked)
        for place in range(self._count):
            inside = strategy(self._bundles, placement_group_bundle_index=place)
            options = {**self._resources.options(), "scheduling_strategy": inside}
            self._members.append(actor.options(**options).remote())
        try:
            places: list[Place] = self._ray.get([member.place.remote() for member in self._members])
        except self._ray.exceptions.RayError as error:
            return explain_death(self._ray, error, "", self._machines)
        started(places)
        waited_for = {
            member.work.remote(work, variables, self._mailbox, str(Path.cwd())): rank
            for rank, (member, variables) in enumerate(zip(self._members, torchrun_variables(places), strict=True))
        }
        return self._end(waited_for, places, told)

    def _end(
        self, waited_for: dict[Any, int], places: Sequence[Place], told: Callable[[Report], object]
    ) -> Attempt | Death:
        ended: dict[int, Attempt] = {}
        complained = float("inf")
        while waited_for and time.monotonic() < complained + _PATIENCE:
            ready, _ = self._ray.wait(list(waited_for), timeout=MOMENT)
            self._pass_on(told)
            for reference in ready:
                rank = waited_for.pop(reference)
                try:
                    ended[rank] = self._ray.get(reference)
                except self._ray.exceptions.RayError as error:
                    return explain_death(self._ray, error, places[rank].machine, self._machines)
                problem = ended[rank].error
                if problem is not None and not isinstance(problem, ProcessError):
                    raise problem
                if problem is not None:  # that another is gone, which its own end tells better
                    complained = min(complained, time.monotonic())
        self._pass_on(told)
        for each in ended.values():
            if each.error is not None:
                raise each.error
        return ended[0]

    def _pass_on(self, told: Callable[[Report], object]) -> None:
        for report in self._ray.get(self._mailbox.take.remote()):
            told(report)


def torchrun_variables(places: Sequence[Place]) -> list[dict[str, str]]:
    """What torchrun would put into the environment of each process, in the order of their ranks."""
    machines = [place.machine for place in places]
    return [
        {
            "RANK": str(rank),
            "WORLD_SIZE": str(len(places)),
            "LOCAL_RANK": str(machines[:rank].count(machine)),
            "LOCAL_WORLD_SIZE": str(machines.count(machine)),
            "MASTER_ADDR": places[0].address,
            "MASTER_PORT": str(places[0].port),
        }
        for rank, machine in enumerate(machines)
    ]


def _tell(listener: Listener, what: str, resources: Resources, places: Sequence[Place]) -> None:
    machines = len({place.machine for place in places})
    listener.say(f"together  {counted(len(places), what)} on {counted(machines, 'machines')} ({resources} each)")
