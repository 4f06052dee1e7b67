"""The race of a search's candidates: who is shown which images next, who is given up, and who comes after them.

Candidates race in rounds. What a round asks for, a look at some images by each of some candidates, is decided by what
was known when it began, and what it brings is only taken into account when all of it is there. So a search is a pure
function of its seed and of what its candidates answer: it does not matter how many workers share the looks of a round,
which of them is faster, or which of them die.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from noah.nas.candidate import Candidate, Proposal, rank
from noah.nas.evolution import NEVER_GIVEN_UP, evaluations, propose_generation
from noah.nas.outcome import Outcome
from noah.nas.racing import Difficulty, Look, Rules, expected_errors, is_lost, next_images
from noah.nas.study import Entry, candidate_of
from noah.settings.settings import EvolutionSettings
from noah.space.budget import Budget
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet


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


class Race:
    """Where a search stands, by its record.

    Args:
        task: What the search is about.

    Attributes:
        candidates: Those that are finished, sorted by index.
        wanted: Proposals that have to be recorded before anything else happens.
        asked: What the round asks for: the images that each of some candidates is shown, by its index. Empty if
            something is wanted, or if the race is over.
        over: Whether every candidate is finished, and no other will come.
    """

    def __init__(self, task: Task) -> None:
        self._task = task
        self._planned = task.planned
        self._difficulty = Difficulty(task.rules.images)
        self._looks: dict[int, tuple[Look, ...]] = {}
        self._known: dict[int, Candidate] = {}
        self._proposals: dict[int, list[Proposal]] = {}
        self.candidates: list[Candidate] = []
        self.wanted: list[Proposal] = []
        self.asked: dict[int, NDArray[np.int64]] = {}
        self.over = False

    def follow(self, entries: Mapping[int, Entry]) -> None:
        """Take in what the record holds by now.

        Args:
            entries: Every entry by its index.
        """
        while self._advance(entries):
            pass
        self.candidates = self._finished()

    def missing(self, entries: Mapping[int, Entry]) -> list[Entry]:
        """The entries that the round waits for, the most promising first.

        New candidates come first, then those expected to make the fewest errors, then the older ones. Where none is
        ever given up, they are finished one after another instead.
        """
        waiting = [entries[index] for index in self.asked if len(entries[index].looks) <= len(self._shown(index))]
        return sorted(waiting, key=self._promise)

    def is_first_round(self) -> bool:
        """Whether the round shows the first candidates of all their first images, so that nothing is known yet."""
        return not self._known and self._task.rules.rule != "off" and not any(map(self._shown, self.asked))

    def most_promising(self, entries: Mapping[int, Entry]) -> Entry:
        """The entry of this round that is expected to make the fewest errors, by all its looks."""
        shares = self._difficulty.shares
        of_round = [entries[index] for index in self.asked]
        return min(of_round, key=lambda each: (not each.looks, expected_errors(shares, each.looks), each.trial))

    def candidate(self, entry: Entry) -> Candidate:
        """The candidate of an entry, by all its looks."""
        task, subnet = self._task, entry.proposal.subnet
        return candidate_of(entry, task.rules.images, task.space.sizes, task.cost(subnet))

    def _advance(self, entries: Mapping[int, Entry]) -> bool:
        """End the round if all that it asks for is there, and begin the next; whether that one may be over, too."""
        if self.asked:
            arrived = [i for i in sorted(self.asked) if len(entries[i].looks) > len(self._shown(i))]
            # Where nobody is given up, no decision depends on what others answer, so nobody waits for them.
            if not arrived or (len(arrived) < len(self.asked) and self._task.rules.rule != "off"):
                return False
            for index in arrived:
                look = entries[index].looks[len(self._shown(index))]
                self._looks[index] = (*self._shown(index), look)
                self._difficulty.add(look)
        self.asked = {}
        generation = self._unfinished_generation()
        if generation is None:
            self.over = True
            return False
        if generation not in self._proposals:
            self._proposals[generation] = propose(generation, self._finished(), self._task)
        proposals = self._proposals[generation]
        self.wanted = [proposal for proposal in proposals if proposal.index not in entries]
        if self.wanted:
            return False
        bounds = self._decide([entries[each.index] for each in proposals if each.index not in self._known])
        contestants = [each for each in proposals if each.index not in self._known]
        if contestants:
            self.asked = self._choose(contestants, bounds)
            return True
        self.over = self._unfinished_generation() == generation  # the space has no more subnets
        return not self.over

    def _decide(self, contestants: Sequence[Entry]) -> Mapping[float, Outcome | None]:
        """Finish those that have seen every image or have lost; gives what the others have to beat, by their cost."""
        task, rules = self._task, self._task.rules
        lost = []
        for entry in contestants:
            index = entry.proposal.index
            shown = replace(entry, looks=self._shown(index))
            if shown.looks and self.candidate(shown).outcome.complete:
                self._known[index] = self.candidate(shown)
            elif shown.looks:
                ended = entry.finished and len(shown.looks) == len(entry.looks)  # by an earlier version's rules
                lost.append((shown, ended))
        known = list(self._known.values())
        costs = {task.cost(entry.proposal.subnet) for entry in contestants}
        bounds = {cost: bound_of(known, cost, rules.top) for cost in costs}
        for shown, ended in lost:
            if ended or is_lost(rules, shown.looks, self._bound(shown.proposal, bounds)):
                self._known[shown.proposal.index] = self.candidate(shown)
        return bounds

    def _choose(
        self, contestants: Sequence[Proposal], bounds: Mapping[float, Outcome | None]
    ) -> dict[int, NDArray[np.int64]]:
        """Who takes part in the next round, and the images that they are shown.

        New candidates are shown a few images before any other goes on. Of those that have nothing to beat yet, only as
        many go on as have to be finished until there is something. The others are shown what they need to lose.
        """
        rules, shares = self._task.rules, self._difficulty.shares
        chosen = list(contestants)
        if rules.rule != "off":
            new = [each for each in contestants if not self._shown(each.index)]
            unbeaten = [
                each for each in contestants if each.origin not in NEVER_GIVEN_UP and self._bound(each, bounds) is None
            ]
            unbeaten.sort(key=lambda each: (expected_errors(shares, self._shown(each.index)), each.index))
            chosen = new or [each for each in contestants if each not in unbeaten[rules.top :]]
        return {
            each.index: next_images(rules, shares, self._shown(each.index), self._bound(each, bounds))
            for each in sorted(chosen, key=lambda each: each.index)
        }

    def _bound(self, proposal: Proposal, bounds: Mapping[float, Outcome | None]) -> Outcome | None:
        return None if proposal.origin in NEVER_GIVEN_UP else bounds[self._task.cost(proposal.subnet)]

    def _finished(self) -> list[Candidate]:
        return [self._known[index] for index in sorted(self._known)]

    def _shown(self, index: int) -> tuple[Look, ...]:
        return self._looks.get(index, ())

    def _unfinished_generation(self) -> int | None:
        """The first generation with an unfinished candidate; None at the end of the search."""
        if len(self._known) >= self._planned:
            return None
        first = next(index for index in range(self._planned) if index not in self._known)
        return first // self._task.settings.population

    def _promise(self, entry: Entry) -> tuple[bool, float, int]:
        index = entry.proposal.index
        if self._task.rules.rule == "off":
            return (entry.holder is None and not entry.looks, 0.0, index)
        return (bool(entry.looks), expected_errors(self._difficulty.shares, entry.looks), index)


def propose(generation: int, candidates: Sequence[Candidate], task: Task) -> list[Proposal]:
    """The proposals of a generation, by the finished candidates, sorted by index, of those before it."""
    earlier = [candidate for candidate in candidates if candidate.generation < generation]
    return propose_generation(generation, earlier, task.space, task.budget, task.settings, task.seed)


def bound_of(candidates: Sequence[Candidate], cost: float, top: int) -> Outcome | None:
    """What a candidate of this cost has to beat: the k-th best of the complete candidates that cost no more."""
    rivals = [c for c in rank(candidates) if c.outcome.complete and c.cost <= cost]
    return rivals[top - 1].outcome if len(rivals) >= top else None
