"""The record of a search: who holds what, and what is kept of it, in a file, a database and memory alike."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from optuna.storages import BaseStorage, InMemoryStorage
from optuna.trial import TrialState

from noah.nas.candidate import Candidate, Proposal
from noah.nas.evolution import propose_generation
from noah.nas.racing import Look
from noah.nas.storage import journal_storage, open_storage
from noah.nas.study import Entry, SearchStudy, candidate_of
from noah.nas.worker import Beat, Worker
from tests.noah.shared_search import SETTINGS, make_study, make_task

TASK = make_task()
MINE, OTHER = Worker("mine", "here", 1), Worker("other", "there", 2)
LOOKS = (Look((3, 1), (1,), 0.5), Look((0,), (), 0.25), Look((2, 4), (2, 4), 3.0))

Open = Callable[[], SearchStudy]


def proposals(count: int = 3) -> list[Proposal]:
    task = make_task(SETTINGS.model_copy(update={"population": count}))
    return propose_generation(0, [], task.space, task.budget, task.settings, task.seed)


@pytest.fixture(params=["journal", "sqlite", "memory"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """A function that opens the same study anew, as another process would; in memory it is one for all."""
    in_memory = InMemoryStorage()

    def storage() -> BaseStorage:
        match request.param:
            case "journal":
                return journal_storage(tmp_path / "journal.log")
            case "sqlite":
                return open_storage(f"sqlite:///{tmp_path / 'search.db'}")
            case _:
                return in_memory

    return lambda: make_study(TASK, storage())


def complete(entry: Entry, images: int = 5) -> Candidate:
    return candidate_of(entry, images, TASK.space.embed_dim, 0)


def test_proposals_wait_in_their_order(opening: Open) -> None:
    first, second = opening(), opening()
    assert first.entries() == []
    asked = proposals()
    first.propose(reversed(asked))  # type: ignore[arg-type]  # any order will do
    entries = second.entries()
    assert [entry.proposal for entry in entries] == asked
    assert {(entry.looks, entry.holder, entry.finished) for entry in entries} == {((), None, False)}


def test_a_candidate_is_held_by_one_worker(opening: Open) -> None:
    mine, other = opening(), opening()
    mine.propose(proposals(1))
    (ours,), (theirs,) = mine.entries(), other.entries()
    held = mine.hold(ours, MINE)
    assert held is not None
    assert held.holder == "mine"
    assert other.hold(theirs, OTHER) is None
    assert mine.hold(ours, MINE) is None  # nor twice by one
    assert [entry.holder for study in (mine, other) for entry in study.entries()] == ["mine", "mine"]


def test_looks_are_written_as_they_come(opening: Open) -> None:
    mine, other = opening(), opening()
    mine.propose(proposals(1))
    held = mine.hold(mine.entries()[0], MINE)
    for look in LOOKS:
        assert held is not None
        held = mine.add(held, look)
    assert held is not None
    assert held.looks == LOOKS
    assert other.entries() == mine.entries() == [held]
    mine.finish(held, complete(held), [0.4])
    (entry,) = other.entries()
    assert (entry.looks, entry.holder, entry.finished) == (LOOKS, None, True)
    (trial,) = other._storage.get_all_trials(other._study_id)
    assert (trial.state, trial.values) == (TrialState.COMPLETE, [0.4])


def test_holders_that_have_not_signed_yet_are_told_apart(opening: Open) -> None:
    study = opening()
    study.propose(proposals(3))
    for entry in study.entries()[:2]:
        study._storage.set_trial_state_values(study._trial_id(entry), TrialState.RUNNING)
    first, second, free = (entry.holder for entry in opening().entries())
    assert None not in (first, second)
    assert first != second
    assert free is None
    assert [entry.holder for entry in study.entries()] == [first, second, None]  # whoever asks, and whenever


def test_more_than_ten_looks_keep_their_order(opening: Open) -> None:
    study = opening()
    many = tuple(Look((image,), (), float(image)) for image in range(12))
    study.propose(proposals(1), many)
    assert study.entries()[0].looks == many


def test_one_that_is_given_up_has_no_values(opening: Open) -> None:
    study = opening()
    study.propose(proposals(1), LOOKS[:1])
    held = study.hold(study.entries()[0], MINE)
    assert held is not None
    study.finish(held, complete(held), [0.5])
    (entry,) = opening().entries()
    assert (entry.finished, entry.looks) == (True, LOOKS[:1])
    (trial,) = study._storage.get_all_trials(study._study_id)
    assert (trial.state, trial.values) == (TrialState.PRUNED, None)


def test_what_is_let_go_waits_with_its_looks(opening: Open) -> None:
    mine, other = opening(), opening()
    mine.propose(proposals(2))
    held = mine.hold(mine.entries()[0], MINE)
    assert held is not None
    held = mine.add(held, LOOKS[0])
    assert held is not None
    other.let_go(other.entries()[0])
    (entry, untouched) = other.entries()
    assert (entry.proposal, entry.looks, entry.holder) == (held.proposal, LOOKS[:1], None)
    assert untouched.trial == 1
    # Whoever held it has lost it: nothing of what it still does is taken.
    assert mine.add(held, LOOKS[1]) is None
    mine.finish(held, complete(held), [1.0])
    mine.let_go(held)
    assert mine.entries()[0].looks == LOOKS[:1]
    assert not mine.entries()[0].finished
    taken = other.hold(other.entries()[0], OTHER)
    assert taken is not None
    assert other.add(taken, LOOKS[1]) is not None
    assert mine.entries()[0].looks == LOOKS[:2]


def test_nothing_is_lost_with_a_process_that_dies_while_it_lets_go(
    opening: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = opening()
    study.propose(proposals(1), LOOKS)
    held = study.hold(study.entries()[0], MINE)
    assert held is not None

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(study._storage, "set_trial_state_values", die)
        with pytest.raises(KeyboardInterrupt):
            study.let_go(held)
    other = opening()
    (entry,) = other.entries()
    assert (entry.looks, entry.holder) == (LOOKS, "mine")
    other.let_go(entry)
    (entry,) = other.entries()
    assert (entry.looks, entry.holder) == (LOOKS, None)


def test_of_two_with_one_index_that_with_more_looks_counts_and_else_the_older(opening: Open) -> None:
    mine, other = opening(), opening()
    mine.propose(proposals())
    other.propose(proposals())
    assert [entry.trial for entry in mine.entries()] == [0, 1, 2]
    held = mine.hold(mine.entries()[1], MINE)
    assert held is not None
    assert [entry.trial for entry in other.entries()] == [0, 1, 2]
    held = mine.add(held, LOOKS[0])
    assert held is not None
    mine.let_go(held)  # the younger of the two, with no looks, is not what is left
    assert [(entry.trial, len(entry.looks)) for entry in other.entries()] == [(0, 0), (6, 1), (2, 0)]
    held = other.hold(other.entries()[2], OTHER)
    assert held is not None
    other.finish(held, complete(Entry(2, held.proposal, LOOKS)), [0.1])
    mine.propose([held.proposal], LOOKS)
    assert [(entry.trial, entry.finished) for entry in mine.entries()] == [(0, False), (6, False), (2, True)]


def test_signs_of_life(opening: Open) -> None:
    mine, other = opening(), opening()
    assert mine.beats() == {}
    for number in (1, 2):
        mine.beat(Beat(MINE, number, idle=False))
    other.beat(Beat(OTHER, 1, idle=True))
    assert mine.beats() == other.beats() == {"mine": Beat(MINE, 2, False), "other": Beat(OTHER, 1, True)}


def test_another_study_in_the_same_storage_is_another_search(tmp_path: Path) -> None:
    for storage in (journal_storage(tmp_path / "journal.log"), open_storage(f"sqlite:///{tmp_path / 'search.db'}")):
        first, second = (SearchStudy(storage, name, TASK.space, TASK.settings) for name in ("first", "second"))
        first.propose(proposals(2))
        assert second.entries() == []
        second.propose(proposals(1), LOOKS)
        held = second.hold(second.entries()[0], MINE)
        assert held is not None
        assert [entry.holder for entry in first.entries()] == [None, None]
        assert second.entries()[0].looks == LOOKS


def test_what_a_person_sees_in_the_study(opening: Open) -> None:
    study = opening()
    study.propose(proposals(1))
    (trial,) = study._storage.get_all_trials(study._study_id)
    assert trial.params["lora.depth"] == sum(map(bool, proposals(1)[0].subnet.lora))
    assert json.dumps(trial.user_attrs)
    assert study._study.metric_names == ["accuracy"]
    two = make_study(make_task(SETTINGS.model_copy(update={"objective": "accuracy,params"})))
    assert two._study.metric_names == ["accuracy", "params"]
    assert [direction.name for direction in two._study.directions] == ["MAXIMIZE", "MINIMIZE"]


def both_kinds(folder: Path) -> list[SearchStudy]:
    storages = journal_storage(folder / "journal.log"), open_storage(f"sqlite:///{folder / 'search.db'}")
    return [make_study(TASK, storage) for storage in storages]


def test_workers_that_all_take_everything_at_once_share_it(tmp_path: Path) -> None:
    """SQLite alone would let two of them take the same one."""
    for study in both_kinds(tmp_path):
        study.propose(proposals(30))
    start = threading.Barrier(3)

    def take_all(name: str) -> list[list[int]]:
        studies = [(study, study.entries()) for study in both_kinds(tmp_path)]
        start.wait()
        return [[e.proposal.index for e in entries if study.hold(e, Worker(name, "", 1))] for study, entries in studies]

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(take_all, "abc"))
    for study, *shares in zip(both_kinds(tmp_path), *found, strict=True):
        assert sorted(index for share in shares for index in share) == list(range(30))
        assert all(entry.holder in ("a", "b", "c") for entry in study.entries())
