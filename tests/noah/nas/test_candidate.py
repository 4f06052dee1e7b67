"""The Pareto front: what brute force over all pairs says."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from noah.evaluation.accuracy import Score
from noah.nas.candidate import Candidate, dominators, front, rank, select
from noah.nas.outcome import Outcome
from noah.space.subnet import Subnet

SUBNET = Subnet.uniform(1, lora=1)


@st.composite
def searches(draw: st.DrawFn) -> list[Candidate]:
    """Candidates with many ties, some of which were given up; in any order."""
    drawn = draw(
        st.lists(
            st.tuples(st.integers(0, 4), st.sampled_from([0.1, 0.2]), st.sampled_from([0, 1, 1.5, 2]), st.booleans()),
            max_size=12,
        )
    )
    candidates = [
        Candidate(
            index,
            0,
            "random",
            SUBNET,
            1,
            Outcome(Score(correct, 4, entropy), tuple(range(4 - correct)), (0, 1) if given_up else None),
            cost,
        )
        for index, (correct, entropy, cost, given_up) in enumerate(drawn)
    ]
    return draw(st.permutations(candidates))


def beats(first: Candidate, second: Candidate) -> bool:
    """More accurate, or as accurate and surer, or both and earlier; and no dearer."""
    ours = (first.score.correct, -first.score.cross_entropy, -first.index)
    return first.cost <= second.cost and ours > (second.score.correct, -second.score.cross_entropy, -second.index)


def complete(candidates: list[Candidate]) -> list[Candidate]:
    return [candidate for candidate in rank(candidates) if candidate.outcome.complete]


@given(searches())
def test_dominators_are_counted_as_by_hand(candidates: list[Candidate]) -> None:
    known = complete(candidates)
    assert dominators(candidates) == [(c, sum(beats(other, c) for other in known)) for c in known]


@given(searches())
def test_nothing_dominates_the_front_and_it_dominates_all_else(candidates: list[Candidate]) -> None:
    found, known = front(candidates), complete(candidates)
    assert found == [c for c in known if not any(beats(other, c) for other in known)]
    assert all(any(beats(best, c) for best in found) for c in known if c not in found)
    # From the most accurate to the cheapest, and no two of one cost.
    costs = [c.cost for c in found]
    assert costs == sorted(set(costs), reverse=True)
    assert bool(found) == bool(known)


@given(searches(), st.integers(1, 8))
def test_those_that_the_fewest_dominate_are_selected_and_the_whole_front(
    candidates: list[Candidate], count: int
) -> None:
    selected = select(candidates, count)
    counts = {candidate.index: dominated for candidate, dominated in dominators(candidates)}
    assert len(selected) == min(len(counts), max(count, len(front(candidates))))
    assert {c.index for c in front(candidates)} <= {c.index for c in selected}
    left = [dominated for index, dominated in counts.items() if index not in {c.index for c in selected}]
    assert max((counts[c.index] for c in selected), default=0) <= min(left, default=len(candidates))


@given(searches(), st.integers(1, 8))
def test_with_one_objective_all_of_it_is_the_ranking(candidates: list[Candidate], count: int) -> None:
    free = [replace(candidate, cost=0) for candidate in candidates]
    known = complete(free)
    assert dominators(free) == [(candidate, place) for place, candidate in enumerate(known)]
    assert front(free) == known[:1]
    assert select(free, count) == known[:count]
