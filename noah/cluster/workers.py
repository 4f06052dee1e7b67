"""Workers on the machines of a cluster that each open something once, such as a model, and then do piece after piece.

`noah.cluster.tasks` is for work that needs nothing of the kind. As there, a piece that fails by its own error has
failed, and one whose machine or process died is done again by another worker.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from noah.cluster.attempts import Attempt, Outcome, attempt
from noah.cluster.deaths import MOST_CRASHES, Deaths, explain_death
from noah.cluster.reports import Report, Reporter, open_mailbox
from noah.cluster.resources import Resources, nobody_has
from noah.cluster.session import MOMENT, Cluster, Machines, count_slots, end_actors
from noah.errors import NoahError
from noah.progress import Listener

P = TypeVar("P")
T = TypeVar("T")

Work = Callable[[P, Listener], T]
"""What a worker does with a piece."""


@dataclass(slots=True)
class _Hand:
    """A worker as the driver sees it."""

    actor: Any
    machine: str = ""
    name: str = ""
    piece: str | None = None
    latest: Report | None = None


@dataclass(slots=True)
class _State:
    """What the driver knows."""

    waiting: deque[str]
    hands: list[_Hand] = field(default_factory=list)
    expected: dict[Any, _Hand] = field(default_factory=dict)
    deaths: dict[str, Deaths] = field(default_factory=dict)
    failed_starts: int = 0

    @property
    def busy(self) -> list[_Hand]:
        """The workers that have a piece."""
        return [hand for hand in self.hands if hand.piece is not None]


def run_on_workers(
    cluster: Cluster,
    start: Callable[[], Work[P, T]],
    pieces: Mapping[str, P],
    resources: Resources,
    listener: Listener,
    *,
    title: str,
    unit: str,
    summary: Callable[[], str] = lambda: "",
) -> Generator[Outcome[T]]:
    """Do all pieces, with as many workers as the machines have room for, and give each outcome as soon as it is there.

    Machines that join later get workers, too. When the generator is closed, or Ctrl-C interrupts it, the workers end.
    Close it before the cluster is left, as that of `noah.cluster.tasks.run_tasks`.

    Args:
        cluster: Where to.
        start: Called once in each worker; gives what it does with a piece. Has to be picklable, and so has every piece.
            It travels to each machine once.
        pieces: By their names; begun in this order.
        resources: What a worker needs.
        listener: Told of workers and machines that died; its bar counts pieces.
        title: The bar's title.
        unit: What a piece is, in the plural.
        summary: A few words for the bar.

    Raises:
        NoahError: If a worker cannot start, by its own error; or if its process dies then, several times.
    """
    ray = cluster.ray
    worker = ray.remote(max_restarts=0, max_task_retries=0)(_Worker)
    mailbox = open_mailbox(ray)
    stored = ray.put(start)
    state = _State(deque(pieces), deaths={name: Deaths() for name in pieces})
    machines = Machines(cluster)
    over, emptied, hopeless = 0, float("-inf"), False
    with listener.bar(title, len(pieces), unit) as bar:
        try:
            while state.waiting or state.busy:
                room = count_slots(machines.there(), resources)
                if time.monotonic() - emptied >= MOMENT:
                    _pass_on(ray, mailbox, state)
                    emptied = time.monotonic()
                if not room and not state.busy and not hopeless:
                    hopeless = True
                    listener.say(nobody_has(resources))
                wanted = min(room, len(state.waiting) + len(state.busy))
                while len(state.hands) < wanted:
                    actor = worker.options(**resources.options()).remote(mailbox, str(Path.cwd()))
                    state.hands.append(hand := _Hand(actor))
                    state.expected[actor.open.remote(stored)] = hand
                for hand in [hand for hand in state.hands if hand.machine and hand.piece is None]:
                    if state.waiting:
                        hand.piece, hand.latest = state.waiting.popleft(), None
                        state.expected[hand.actor.do.remote(hand.piece, pieces[hand.piece])] = hand
                if not state.expected:
                    time.sleep(MOMENT)
                    continue
                ready, _ = ray.wait(list(state.expected), timeout=MOMENT)
                for reference in ready:
                    done = _take(ray, reference, state, machines, listener)
                    if done is not None:
                        over += 1
                        yield done
                bar.update(over + _parts_of_running(state), ", ".join(filter(None, [_at_work(state), summary()])))
            bar.update(over, summary())
        finally:
            end_actors(ray, [*(hand.actor for hand in state.hands), mailbox])


class _Worker:
    """The actor: its own errors are results, so that all others are those of machines."""

    def __init__(self, mailbox: Any, folder: str) -> None:
        if Path(folder).is_dir():
            os.chdir(folder)
        self._mailbox = mailbox
        self._work: Work[Any, Any] | None = None

    def open(self, start: Callable[[], Work[Any, Any]]) -> Attempt:
        def opened() -> None:
            self._work = start()

        return attempt(opened)

    def do(self, name: str, piece: Any) -> Attempt:
        import ray

        assert self._work is not None
        reporter = Reporter(name, ray.get_runtime_context().get_node_id(), self._mailbox.put.remote)
        return attempt(partial(self._work, piece, reporter))


def _take(ray: Any, reference: Any, state: _State, machines: Machines, listener: Listener) -> Outcome[Any] | None:
    """What a worker has to say: that it is open, what became of its piece, or nothing any more."""
    hand = state.expected.pop(reference)
    try:
        result: Attempt = ray.get(reference)
    except ray.exceptions.RayError as error:
        state.hands.remove(hand)
        end_actors(ray, [hand.actor])  # it may only be out of reach
        return _bury(ray, error, hand, state, machines, listener)
    if hand.piece is None:
        if result.error is not None:
            raise result.error
        hand.machine, state.failed_starts = result.machine, 0
        hand.name = machines.name(result.machine)
        return None
    name, hand.piece = hand.piece, None
    return result.outcome(name, hand.name, int(state.deaths[name]))


def _bury(
    ray: Any, error: Exception, hand: _Hand, state: _State, machines: Machines, listener: Listener
) -> Outcome[Any] | None:
    """Count a death and say so; the piece goes back to the front, unless it may be what kills."""
    death = explain_death(ray, error, hand.machine, machines)
    if hand.piece is None:
        state.failed_starts += not death.lost
        if state.failed_starts >= MOST_CRASHES:
            raise NoahError(f"A worker cannot start: {death.how}, {state.failed_starts} times.", death.hint)
        return None
    name, deaths = hand.piece, state.deaths[hand.piece]
    if deaths.count(death):
        given_up = Attempt(error=deaths.give_up("It", death), account=str(error))
        return given_up.outcome(name, hand.name, int(deaths) - 1)
    elsewhere = " on another machine" if death.lost else ""
    listener.say(f"retry     {name}: {death.how}, so it is done again{elsewhere}")
    state.waiting.appendleft(name)
    return None


def _pass_on(ray: Any, mailbox: Any, state: _State) -> None:
    """Note how far each piece is."""
    by_piece = {hand.piece: hand for hand in state.busy}
    for report in ray.get(mailbox.take.remote()):
        if report.done is not None and (hand := by_piece.get(report.task)) is not None:
            hand.latest = report


def _parts_of_running(state: _State) -> float:
    """How much of the pieces that are being done is done."""
    latest = [hand.latest for hand in state.busy if hand.latest is not None]
    return sum(min((report.done or 0.0) / max(report.total, 1), 0.99) for report in latest)


def _at_work(state: _State) -> str:
    """How many workers there are, in a few words."""
    open_ones = [hand for hand in state.hands if hand.machine]
    if not open_ones:
        return "waiting for workers to start"
    machines = len({hand.machine for hand in open_ones})
    where = "" if machines == 1 else f" on {machines} machines"
    return f"{len(open_ones)} {'worker' if len(open_ones) == 1 else 'workers'}{where}"
