"""Processes of a cluster that hold what they need and answer many small questions, each the same wherever it is asked.

A question whose process or machine dies is put to another. One that fails by its own error ends the work with it.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from noah.cluster.attempts import portable
from noah.cluster.deaths import MOST_CRASHES, Deaths, explain_death
from noah.cluster.resources import ONE_CORE, Resources, nobody_has
from noah.cluster.session import MOMENT, Cluster, Machines, count_slots, end_actors
from noah.errors import NoahError
from noah.progress import Listener, counted

Q = TypeVar("Q")
A = TypeVar("A")


class _Member:
    """An actor: prepares itself once, then answers."""

    def __init__(self, prepare: Callable[[], Callable[[Any], Any]], folder: str) -> None:
        if Path(folder).is_dir():
            os.chdir(folder)
        self._error: Exception | None = None
        try:
            self._answer = prepare()
        except Exception as error:
            self._error = portable(error)

    def ready(self) -> tuple[str, Exception | None]:
        """Ray's name for its machine, and why it cannot answer, if it cannot."""
        import ray

        return ray.get_runtime_context().get_node_id(), self._error

    def answer(self, question: Any) -> tuple[Any, Exception | None]:
        """The answer, or the question's own error: all others are those of machines."""
        try:
            return self._answer(question), None
        except Exception as error:
            return None, portable(error)


@dataclass(slots=True, eq=False)
class _Known:
    """What the driver knows of a member: its machine once it is ready, and the place of the question that it has."""

    actor: Any
    machine: str = ""
    place: int | None = None


class Crew(Generic[Q, A]):
    """Processes on all machines, those that join later included; made by `crew`.

    Args:
        cluster: Where they run.
        prepare: Called once in each of them, returns what answers a question there; has to be picklable.
        listener: Told of processes that died.
        resources: What each of them needs.
        topic: What a question is about; one about the same goes to the same process, if that has nothing else to do.
        what: What they are, in the plural.
    """

    def __init__(
        self,
        cluster: Cluster,
        prepare: Callable[[], Callable[[Q], A]],
        listener: Listener,
        *,
        resources: Resources = ONE_CORE,
        topic: Callable[[Q], Hashable] = lambda _: None,
        what: str = "processes",
    ) -> None:
        self._ray, self._machines, self._listener = cluster.ray, Machines(cluster), listener
        self._resources, self._topic, self._what = resources, topic, what
        self._class = cluster.ray.remote(max_restarts=0, max_task_retries=0)(_Member)
        self._prepare = cluster.ray.put(prepare)
        self._members: list[_Known] = []
        self._waited_for: dict[Any, _Known] = {}
        self._homes: dict[Hashable, _Known] = {}
        self._told = 0
        self._hopeless = False
        self._stillborn = 0

    def answers(self, questions: Sequence[Q]) -> Iterator[tuple[int, A]]:
        """Put questions to the processes, and give each one's place with its answer, in the order in which they come.

        Raises:
            Exception: What a process raised itself.
            NoahError: If processes or machines die again and again.
        """
        left = list(range(len(questions)))
        deaths: dict[int, Deaths] = defaultdict(Deaths)
        answered = 0
        try:
            while answered < len(questions):
                self._fill()
                self._assign(questions, left)
                for reference in self._ready():
                    member = self._waited_for.pop(reference)
                    place, member.place = member.place, None
                    try:
                        value, error = self._ray.get(reference)
                    except self._ray.exceptions.RayError as died:
                        self._bury(member, died, place, deaths)
                        if place is not None:
                            left.insert(0, place)
                        continue
                    if error is not None:
                        raise error
                    if place is None:
                        member.machine, self._stillborn = value, 0
                        self._tell()
                    else:
                        answered += 1
                        yield place, value
        finally:
            # Of those that are asked something, nobody waits for the answer anymore.
            self._end([member for member in self._members if member.place is not None])

    def close(self) -> None:
        """End all processes."""
        self._end(list(self._members))

    def _end(self, members: Sequence[_Known]) -> None:
        end_actors(self._ray, [member.actor for member in members])
        self._members = [member for member in self._members if member not in members]
        self._waited_for = {ref: member for ref, member in self._waited_for.items() if member not in members}
        self._homes = {topic: home for topic, home in self._homes.items() if home not in members}

    def _ready(self) -> Sequence[Any]:
        """What has come; waits a little for it."""
        if not self._waited_for:
            time.sleep(MOMENT)
            return ()
        ready, _ = self._ray.wait(list(self._waited_for), timeout=MOMENT)
        return ready  # type: ignore[no-any-return]  # a list of Ray's references

    def _fill(self) -> None:
        """Have as many processes as there is room for."""
        room = count_slots(self._machines.there(), self._resources)
        if not room and not self._hopeless:
            self._hopeless = True
            self._listener.say(nobody_has(self._resources))
        for _ in range(room - len(self._members)):
            options = self._class.options(**self._resources.options())
            member = _Known(options.remote(self._prepare, str(Path.cwd())))
            self._members.append(member)
            self._waited_for[member.actor.ready.remote()] = member

    def _assign(self, questions: Sequence[Q], left: list[int]) -> None:
        """Give each process that has nothing to do a question: one that it knows about, or the first of the others."""
        idle = [member for member in self._members if member.machine and member.place is None]
        for member in idle:
            if not left:
                return
            topics = {place: self._topic(questions[place]) for place in left}
            own = [place for place in left if self._homes.get(topics[place]) is member]
            free = [place for place in left if topics[place] not in self._homes]
            place = (own or free or left)[0]
            left.remove(place)
            self._homes[topics[place]] = member
            member.place = place
            self._waited_for[member.actor.answer.remote(questions[place])] = member

    def _bury(self, member: _Known, error: Exception, place: int | None, deaths: dict[int, Deaths]) -> None:
        """Forget a process that died, and say what becomes of its question.

        Raises:
            NoahError: If its question was lost too often, or processes die before they are ready.
        """
        self._end([member])  # it is dead, or as good as that
        death = explain_death(self._ray, error, member.machine, self._machines)
        if place is None:
            self._stillborn += not death.lost
            if self._stillborn >= MOST_CRASHES:
                problem = f"One of the {self._what} cannot start: {death.how}, {self._stillborn} times."
                raise NoahError(problem, death.hint)
            again = "another process is started"
        elif deaths[place].count(death):
            raise deaths[place].give_up("The work", death)
        else:
            again = "what it was asked is asked again"
        self._listener.say(f"retry     one of the {self._what}: {death.how}, so {again}")

    def _tell(self) -> None:
        """Say how many are at work whenever there are more than before and none is still starting."""
        there = [member for member in self._members if member.machine]
        if len(there) == len(self._members) and len(there) > self._told:
            self._told = len(there)
            machines = len({member.machine for member in there})
            self._listener.say(
                f"workers   {len(there)} {self._what} on {counted(machines, 'machines')} ({self._resources} each)"
            )


@contextmanager
def crew(
    cluster: Cluster,
    prepare: Callable[[], Callable[[Q], A]],
    listener: Listener,
    *,
    resources: Resources = ONE_CORE,
    topic: Callable[[Q], Hashable] = lambda _: None,
    what: str = "processes",
) -> Iterator[Crew[Q, A]]:
    """Start a `Crew`, which ends with the `with` block; the arguments are its own."""
    started = Crew(cluster, prepare, listener, resources=resources, topic=topic, what=what)
    try:
        yield started
    finally:
        started.close()
