"""What one process does for a search: show a candidate the images that the race asks for, and record what it answers.

Every decision is a function of what the study holds (`noah.nas.race`). So a worker that was stopped at any point
continues as if it had not been, several workers share a search without knowing of each other and end with the same
candidates as one, and whatever a dead worker held is taken over with all its results.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from noah.nas.candidate import Candidate
from noah.nas.evolution import is_invited
from noah.nas.race import Race, Task, propose
from noah.nas.racing import Look
from noah.nas.study import Entry, SearchStudy
from noah.nas.worker import BEAT_SECONDS, Beat, Watch, Worker
from noah.settings.settings import EvolutionSettings, has_final
from noah.space.operators import check_budget
from noah.space.subnet import Subnet

Show = Callable[[Subnet, NDArray[np.int64]], Look]
"""Takes a subnet and image indices, int64, (m), and returns what the subnet answers to these images."""
ShowAll = Callable[[Sequence[tuple[Subnet, NDArray[np.int64]]]], Iterable[tuple[int, Look]]]
"""Takes several of these, and gives the place of each with its answer, in whichever order they come."""
_WAIT_SECONDS = 0.1
"""The time between two checks of the study while other workers hold everything that is left to do."""


def work(
    study: SearchStudy,
    task: Task,
    show: Show,
    worker: Worker,
    *,
    show_all: ShowAll | None = None,
    out_of_time: Callable[[], bool] = lambda: False,
    tell: Callable[[Sequence[Candidate]], None] = lambda _: None,
    alone: bool = False,
    concludes: bool = True,
) -> list[Candidate]:
    """Work on a search until every candidate is finished, by this worker or another.

    Args:
        study: The record that all workers share.
        task: What the search is about.
        show: Evaluates a subnet on the images with these indices.
        worker: The worker that this process is.
        show_all: Evaluates several at once; if given, this worker takes all that it can get of a round.
        out_of_time: Whether to stop; asked between looks, but one candidate is always finished, and so are those known
            that are invited to the final.
        tell: Called with all finished candidates whenever the study was read.
        alone: Whether no other worker can be alive, so that there is no beat to wait for.
        concludes: Whether the final is held with what is returned, so that those that are invited must not be missing.

    Returns:
        All finished candidates, sorted by index.

    Raises:
        EmptySpaceError: If the budget admits no subnet.
    """
    check_budget(task.space, task.budget)
    race, pulse, watch = Race(task), _Pulse(study, worker), Watch(alone=alone)
    try:
        while True:
            entries = {entry.proposal.index: entry for entry in study.entries()}
            race.follow(entries)
            tell(race.candidates)
            if _record_ends(study, race, entries, task, pulse, worker):
                continue
            late = out_of_time()
            unfinished = [entry for entry in entries.values() if not entry.finished]
            if race.over and not unfinished:
                return race.candidates
            if race.wanted and not (late and race.candidates):
                study.propose(race.wanted)
                continue
            if late and (race.candidates or not (race.over or race.is_first_round())):
                found = _candidates_in_time(race, entries, task, show, concludes=concludes)
                tell(found)
                return found
            beats = study.beats()  # read after the entries, because a worker beats before it takes one
            dead = _dead_holders(unfinished, beats, watch, worker)
            if dead:
                for entry in unfinished:
                    if entry.holder in dead:
                        study.let_go(entry)
                continue
            open_to_us = [entry for entry in race.missing(entries) if entry.holder in (None, worker.name)]
            pulse.beat(idle=not open_to_us)
            if not open_to_us:
                time.sleep(_WAIT_SECONDS)
                continue
            if len(open_to_us) > 1 and _someone_idles(beats, watch, worker) and all(e.holder for e in open_to_us):
                study.let_go(open_to_us.pop(1))
            held = [_held(study, entry, worker) for entry in (open_to_us if show_all else open_to_us[:1])]
            taken = [entry for entry in held if entry is not None]
            asks = [(entry.proposal.subnet, race.asked[entry.proposal.index]) for entry in taken]
            for place, look in show_all(asks) if show_all else ((i, show(*ask)) for i, ask in enumerate(asks)):
                study.add(taken[place], look)
                pulse.beat(idle=False)
                if race.candidates and out_of_time():
                    break
    finally:
        pulse.beat(idle=False)
        for entry in study.entries():
            if entry.holder == worker.name and not entry.finished:
                study.let_go(entry)


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
    proposals = propose(missing // task.settings.population, candidates, task)
    return all(proposal.index in known for proposal in proposals)


def objective_values(candidate: Candidate, settings: EvolutionSettings) -> list[float]:
    """The values of a complete candidate's objectives."""
    accuracy = candidate.score.accuracy
    return [accuracy] if settings.objective == "accuracy" else [accuracy, candidate.cost]


def _held(study: SearchStudy, entry: Entry, worker: Worker) -> Entry | None:
    """The entry, held by this worker; None if another was faster."""
    return entry if entry.holder else study.hold(entry, worker)


def _record_ends(
    study: SearchStudy, race: Race, entries: Mapping[int, Entry], task: Task, pulse: _Pulse, worker: Worker
) -> bool:
    """Write down who has finished the race, unless another worker holds it, which then does so; whether any has."""
    recorded = False
    for candidate in race.candidates:
        entry = entries[candidate.index]
        if entry.finished or entry.holder not in (None, worker.name):
            continue
        pulse.beat(idle=False)
        held = _held(study, entry, worker)
        if held:
            study.finish(held, candidate, objective_values(candidate, task.settings))
            recorded = True
    return recorded


def _candidates_in_time(
    race: Race, entries: Mapping[int, Entry], task: Task, show: Show, *, concludes: bool
) -> list[Candidate]:
    """What a search ends with that has to stop: its candidates, and those for which it cannot end yet.

    These are the subnets that are invited to the final, and the most promising one if there is no candidate at all.
    They are shown all other images. That is no part of the race, so it is not recorded: a search that goes on later
    ends as if it had not stopped.
    """
    known = {candidate.index for candidate in race.candidates}
    owed = [] if known else [race.most_promising(entries)]
    if concludes and has_final(task.settings):
        others = [each for each in entries.values() if each.proposal.index not in known and each not in owed]
        owed += [each for each in others if is_invited(each.proposal.origin, each.proposal.subnet, task.settings)]
    finished = [_finish(race, entry, task, show) for entry in owed]
    return sorted([*race.candidates, *finished], key=lambda candidate: candidate.index)


def _finish(race: Race, entry: Entry, task: Task, show: Show) -> Candidate:
    """Show a candidate all the images that it has not seen."""
    while not any(look.failed for look in entry.looks):
        seen = {image for look in entry.looks for image in look.images}
        left = np.array([image for image in range(task.rules.images) if image not in seen], dtype=np.int64)
        if not len(left):
            break
        look = show(entry.proposal.subnet, left[: task.rules.batch_size])
        entry = replace(entry, looks=(*entry.looks, look))
    return race.candidate(entry)


def _dead_holders(entries: Sequence[Entry], beats: Mapping[str, Beat], watch: Watch, worker: Worker) -> set[str]:
    """The holders that have died; those that took a candidate without signing count as dead once no other lives."""
    living = _living_others(beats, watch, worker)
    holders = {entry.holder for entry in entries if entry.holder is not None} - {worker.name, *living}
    return {name for name in holders if name in beats or not living or watch.has_died(name, None)}


def _someone_idles(beats: Mapping[str, Beat], watch: Watch, worker: Worker) -> bool:
    return any(beats[name].idle for name in _living_others(beats, watch, worker))


def _living_others(beats: Mapping[str, Beat], watch: Watch, worker: Worker) -> set[str]:
    return {name for name, beat in beats.items() if name != worker.name and not watch.has_died(name, beat)}


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
