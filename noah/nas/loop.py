"""What one process does for a search: take the most promising candidate, evaluate it on a few images, and record them.

Every decision is a function of what the study holds. So a worker that was stopped at any point continues as if it had
not been, several workers share a search without knowing of each other, and whatever a dead worker held is taken over
with all its results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noah.nas.candidate import Candidate, Proposal, rank
from noah.nas.evolution import NEVER_GIVEN_UP, evaluations, propose_generation
from noah.nas.outcome import Outcome
from noah.nas.racing import Difficulty, Look, Rules, expected_errors, is_lost, next_images
from noah.nas.study import Entry, SearchStudy, candidate_of
from noah.nas.worker import BEAT_SECONDS, Beat, Watch, Worker
from noah.settings.settings import EvolutionSettings
from noah.space.budget import Budget
from noah.space.operators import check_budget
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet

_WAIT_SECONDS = 0.1
"""The time between two checks of the study while other workers hold everything that is left to do."""


@dataclass(frozen=True, slots=True)
class Task:
    """What a search is about; it is the same for every worker and never changes.

    Attributes:
        space: The search space.
        budget: What the subnets may cost.
        settings: The sizes of generations, and probabilities.
        seed: Words of the seed.
        rules: The rules of the race.
        cost: Computes the second objective of a subnet; always 0 if accuracy is the only objective.
    """

    space: SearchSpace
    budget: Budget
    settings: EvolutionSettings
    seed: tuple[int, ...]
    rules: Rules
    cost: Callable[[Subnet], float]

    @property
    def planned(self) -> int:
        """The number of candidates of the whole search."""
        return evaluations(self.space, self.budget, self.settings)


def work(
    study: SearchStudy,
    task: Task,
    show: Callable[[Subnet, NDArray[np.int64]], Look],
    worker: Worker,
    *,
    out_of_time: Callable[[], bool] = lambda: False,
    tell: Callable[[Sequence[Candidate]], None] = lambda _: None,
    alone: bool = False,
) -> list[Candidate]:
    """Work on a search until every candidate is finished, by this worker or another.

    Args:
        study: The record that all workers share.
        task: What the search is about.
        show: Evaluates a subnet on the images with these indices.
        worker: The worker that this process is.
        out_of_time: Whether to stop; asked between looks, but the first candidate is always finished.
        tell: Called with all finished candidates whenever the study was read.
        alone: Whether no other worker can be alive, so that there is no beat to wait for.

    Returns:
        All finished candidates, sorted by index.

    Raises:
        EmptySpaceError: If the budget admits no subnet.
    """
    check_budget(task.space, task.budget)
    ledger, pulse, watch = _Ledger(study, task), _Pulse(study, worker), Watch(alone=alone)
    generations: dict[int, list[Proposal]] = {}
    try:
        while True:
            entries = ledger.read()
            tell(ledger.candidates)
            if out_of_time() and ledger.candidates:  # the first is never lost: it has seen all images, or failed
                return ledger.candidates
            generation = ledger.unfinished_generation()
            if generation is None:
                return ledger.candidates
            if generation not in generations:
                generations[generation] = _propose(generation, ledger.candidates, task)
            unknown = [proposal for proposal in generations[generation] if proposal.index not in entries]
            if unknown:
                study.propose(unknown)
                continue
            unfinished = [entry for entry in entries.values() if not entry.finished]
            if not unfinished:
                return ledger.candidates  # the space has no more subnets
            beats = study.beats()  # read after the entries, because a worker beats before it takes one
            dead = _dead_holders(unfinished, beats, watch, worker)
            if dead:
                for entry in unfinished:
                    if entry.holder in dead:
                        study.let_go(entry)
                continue
            contestants = [entry for entry in unfinished if entry.holder in (None, worker.name)]
            pulse.beat(idle=not contestants)
            if not contestants:
                time.sleep(_WAIT_SECONDS)
                continue
            first, *others = sorted(contestants, key=ledger.promise)
            if others and _someone_idles(beats, watch, worker) and all(entry.holder for entry in contestants):
                study.let_go(others[0])
            held = first if first.holder else study.hold(first, worker)
            if held:
                _look(study, held, ledger, task, show)
    finally:
        pulse.beat(idle=False)
        for entry in study.entries():
            if entry.holder == worker.name and not entry.finished:
                study.let_go(entry)


def bound_of(candidates: Sequence[Candidate], cost: float, top: int) -> Outcome | None:
    """What a candidate of this cost has to beat: the k-th best of the complete candidates that cost no more."""
    rivals = [c for c in rank(candidates) if c.outcome.complete and c.cost <= cost]
    return rivals[top - 1].outcome if len(rivals) >= top else None


def is_exhausted(candidates: Sequence[Candidate], task: Task) -> bool:
    """Whether a search has seen every subnet that the budget admits, so that more time would not find another.

    If more than parameters are bounded, or some subnets are very unlikely to be drawn, this is only as certain as
    random draws can make it (`noah.nas.evolution.propose_generation`).

    Args:
        candidates: All finished candidates.
        task: What the search is about.
    """
    if len(candidates) >= task.planned:
        return len(candidates) == task.space.size(task.budget.of_parameters())
    known = {candidate.index for candidate in candidates}
    missing = next(index for index in range(task.planned) if index not in known)
    proposals = _propose(missing // task.settings.population, candidates, task)
    return all(proposal.index in known for proposal in proposals)


def objective_values(candidate: Candidate, settings: EvolutionSettings) -> list[float]:
    """The values of a complete candidate's objectives."""
    accuracy = candidate.score.accuracy
    return [accuracy] if settings.objective == "accuracy" else [accuracy, candidate.cost]


def _propose(generation: int, candidates: Sequence[Candidate], task: Task) -> list[Proposal]:
    earlier = [candidate for candidate in candidates if candidate.generation < generation]
    return propose_generation(generation, earlier, task.space, task.budget, task.settings, task.seed)


def _look(
    study: SearchStudy,
    entry: Entry,
    ledger: _Ledger,
    task: Task,
    show: Callable[[Subnet, NDArray[np.int64]], Look],
) -> None:
    """Evaluate a held candidate on the next few images, unless it has already lost; finish it if that decides it."""
    subnet = entry.proposal.subnet
    bound = None
    if entry.proposal.origin not in NEVER_GIVEN_UP:
        bound = bound_of(ledger.candidates, task.cost(subnet), task.rules.top)
    images = next_images(task.rules, ledger.shares, entry.looks, bound)  # none: a worker died after the last
    if len(images) and not is_lost(task.rules, entry.looks, bound):
        added = study.add(entry, show(subnet, images))
        if added is None:
            return
        entry = added
    candidate = ledger.candidate(entry)
    if candidate.outcome.complete or is_lost(task.rules, entry.looks, bound):
        study.finish(entry, candidate, objective_values(candidate, task.settings))


def _dead_holders(entries: Sequence[Entry], beats: Mapping[str, Beat], watch: Watch, worker: Worker) -> set[str]:
    """The holders that have died; those that took a candidate without signing count as dead once no other lives."""
    living = _living_others(beats, watch, worker)
    holders = {entry.holder for entry in entries if entry.holder is not None} - {worker.name, *living}
    return {name for name in holders if name in beats or not living or watch.has_died(name, None)}


def _someone_idles(beats: Mapping[str, Beat], watch: Watch, worker: Worker) -> bool:
    return any(beats[name].idle for name in _living_others(beats, watch, worker))


def _living_others(beats: Mapping[str, Beat], watch: Watch, worker: Worker) -> set[str]:
    return {name for name, beat in beats.items() if name != worker.name and not watch.has_died(name, beat)}


class _Ledger:
    """What the study holds, and what follows from it."""

    def __init__(self, study: SearchStudy, task: Task) -> None:
        self._study, self._task = study, task
        self._difficulty = Difficulty(task.rules.images)
        self._counted: dict[int, int] = {}
        self._known: dict[int, Candidate] = {}
        self._planned = task.planned
        self.candidates: list[Candidate] = []

    def read(self) -> dict[int, Entry]:
        """Read the study, and return every entry by its index."""
        entries = {entry.proposal.index: entry for entry in self._study.entries()}
        for index, entry in entries.items():
            for look in entry.looks[self._counted.get(index, 0) :]:
                self._difficulty.add(look)
            self._counted[index] = len(entry.looks)
            if entry.finished and index not in self._known:
                self._known[index] = self.candidate(entry)
        self.candidates = [self._known[index] for index in sorted(self._known)]
        self.shares = self._difficulty.shares
        return entries

    def candidate(self, entry: Entry) -> Candidate:
        """The candidate of an entry, with its results so far."""
        task, subnet = self._task, entry.proposal.subnet
        return candidate_of(entry, task.rules.images, task.space.sizes, task.cost(subnet))

    def unfinished_generation(self) -> int | None:
        """The first generation with an unfinished candidate; None at the end of the search."""
        if len(self.candidates) >= self._planned:
            return None
        first = next(index for index in range(self._planned) if index not in self._known)
        return first // self._task.settings.population

    def promise(self, entry: Entry) -> tuple[bool, float, int]:
        """Sort what to evaluate next: new candidates first, then those expected to make the fewest errors, then by age.

        If candidates are never given up, they are finished one after another instead.
        """
        if self._task.rules.rule == "off":
            return (entry.holder is None and not entry.looks, 0.0, entry.proposal.index)
        return (bool(entry.looks), expected_errors(self.shares, entry.looks), entry.proposal.index)


class _Pulse:
    """Records from time to time that this worker is alive."""

    def __init__(self, study: SearchStudy, worker: Worker) -> None:
        self._study, self._worker = study, worker
        self._number, self._idle, self._last = 0, False, -BEAT_SECONDS

    def beat(self, *, idle: bool) -> None:
        """Write a beat if one is due, or if the worker has become idle or busy."""
        now = time.monotonic()
        if self._number and idle == self._idle and now - self._last < BEAT_SECONDS:
            return
        self._number, self._idle, self._last = self._number + 1, idle, now
        self._study.beat(Beat(self._worker, self._number, idle))
