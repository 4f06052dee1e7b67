"""A search that stops anywhere, or is shared, ends as one that did not: with the same candidates, none seen twice."""

from __future__ import annotations

import multiprocessing
import os
import socket
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from numpy.typing import NDArray
from optuna.storages import InMemoryStorage
from optuna.trial import TrialState

from noah.errors import EmptySpaceError
from noah.files.process_space import process_space
from noah.nas.candidate import Candidate, rank
from noah.nas.evolution import EVEN, SINGLE, is_invited, propose_generation
from noah.nas.loop import is_exhausted, objective_values, work
from noah.nas.race import Task, bound_of
from noah.nas.racing import Look, outcome_of
from noah.nas.storage import journal_storage
from noah.nas.study import SearchStudy
from noah.nas.worker import UNSIGNED_SECONDS, Beat, Watch, Worker, this_worker
from noah.space.budget import Bound, Budget, parameter_budget
from noah.space.search_space import make_space
from noah.space.subnet import Subnet
from tests.noah.shared_search import SETTINGS, SPACE, Answers, make_study, make_task, run_search

IMAGES = 30
ANSWERS = Answers(IMAGES)
RULES = st.sampled_from(["exact", "paired", "off"])


def task_of(rule: str = "exact", **changes: Any) -> Task:
    settings = SETTINGS.model_copy(update={"racing": rule, "generations": 2, **changes})
    return make_task(settings, images=IMAGES)


UNDISTURBED = {rule: run_search(task_of(rule), ANSWERS.show) for rule in ("exact", "paired", "off")}


def check_looks(study: SearchStudy, candidates: list[Candidate]) -> None:
    """Every candidate is accounted for, by looks that show no image twice."""
    entries = study.entries()
    assert [entry.proposal.subnet for entry in entries] == [candidate.subnet for candidate in candidates]
    for entry, candidate in zip(entries, candidates, strict=True):
        assert entry.finished
        assert outcome_of(entry.looks, IMAGES) == candidate.outcome
        assert len({image for look in entry.looks for image in look.images}) == candidate.score.total


class StopError(Exception):
    """Ends a worker."""


@given(RULES, st.lists(st.integers(1, 60), min_size=1, max_size=4))
@settings_of_hypothesis(max_examples=20)
def test_a_search_goes_on_after_any_look(rule: str, cuts: list[int]) -> None:
    """As after Ctrl-C: what was held is let go, and what was shown is shown to no candidate again."""
    storage, task, shown = InMemoryStorage(), task_of(rule), Counter[Subnet]()

    def show_until(cut: int) -> Any:
        def show(subnet: Subnet, images: NDArray[np.int64]) -> Look:
            nonlocal cut
            cut -= 1
            if cut < 0:
                raise StopError
            shown[subnet] += len(images)
            return ANSWERS.show(subnet, images)

        return show

    for cut in cuts:
        try:
            run_search(task, show_until(cut), study=make_study(task, storage))
        except StopError:
            assert all(entry.holder is None for entry in make_study(task, storage).entries())
    candidates = run_search(task, show_until(10**6), study=make_study(task, storage))
    assert candidates == UNDISTURBED[rule]
    assert shown == {candidate.subnet: candidate.score.total for candidate in candidates}
    check_looks(make_study(task, storage), candidates)


class Dying(InMemoryStorage):
    """A storage whose process dies before or after one of its writes: nothing that it does later comes through."""

    left = 0
    after = False

    def _write(self, name: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        self.left -= 1
        if self.left < 0 or (self.left == 0 and not self.after):
            raise StopError
        result = getattr(InMemoryStorage, name)(self, *arguments, **options)
        if self.left == 0:
            raise StopError
        return result

    def create_new_trial(self, *arguments: Any, **options: Any) -> int:
        return self._write("create_new_trial", arguments, options)

    def set_trial_state_values(self, *arguments: Any, **options: Any) -> bool:
        return self._write("set_trial_state_values", arguments, options)

    def set_trial_user_attr(self, *arguments: Any, **options: Any) -> None:
        self._write("set_trial_user_attr", arguments, options)

    def set_study_user_attr(self, *arguments: Any, **options: Any) -> None:
        self._write("set_study_user_attr", arguments, options)


@given(RULES, st.lists(st.tuples(st.integers(1, 250), st.booleans()), min_size=1, max_size=4))
@settings_of_hypothesis(max_examples=40)
def test_a_search_goes_on_after_a_death_at_any_write(rule: str, deaths: list[tuple[int, bool]]) -> None:
    """Each worker has the process number of the one that died, as where the last ends and this process goes on."""
    storage, task = Dying(), task_of(rule)
    storage.left = 10**6
    make_study(task, storage)
    for left, after in deaths:
        storage.left, storage.after = left, after
        try:
            run_search(task, ANSWERS.show, study=make_study(task, storage))
        except StopError:
            continue
    storage.left = 10**6
    candidates = run_search(task, ANSWERS.show, study=make_study(task, storage))
    assert candidates == UNDISTURBED[rule]
    check_looks(make_study(task, storage), candidates)


@pytest.mark.parametrize("sampler", ["evolution", "nsga2", "tpe", "random", "published"])
def test_every_sampler_goes_on_as_if_nothing_had_been(sampler: str) -> None:
    task, storage = task_of(sampler=sampler, objective="accuracy,params"), Dying()
    whole = run_search(task, ANSWERS.show)
    for left in (100, 100, 10**6):
        storage.left = left
        try:
            candidates = run_search(task, ANSWERS.show, study=make_study(task, storage))
        except StopError:
            continue
    assert candidates == whole


def test_a_worker_that_was_counted_as_dead_and_lives_does_no_harm() -> None:
    """Its candidate is taken from it while it shows images: what they said is not written down."""
    storage, task = InMemoryStorage(), task_of()
    stolen: list[Subnet] = []

    def show(subnet: Subnet, images: NDArray[np.int64]) -> Look:
        if len(stolen) < 5:
            thief = make_study(task, storage)
            (entry,) = [entry for entry in thief.entries() if entry.proposal.subnet == subnet]
            thief.let_go(entry)
            stolen.append(subnet)
        return ANSWERS.show(subnet, images)

    candidates = run_search(task, show, study=make_study(task, storage))
    assert candidates == UNDISTURBED["exact"]
    check_looks(make_study(task, storage), candidates)


@pytest.mark.parametrize(("rule", "handed"), [("exact", True), ("off", False)])
@pytest.mark.parametrize(
    ("host", "space", "process"),
    [
        (socket.gethostname(), process_space(), os.getppid()),
        (socket.gethostname(), "that of a container", os.getpid()),
        ("elsewhere", process_space(), os.getpid()),
    ],
    ids=["here", "container", "elsewhere"],
)
def test_an_idle_worker_is_handed_what_another_holds(
    rule: str, handed: bool, host: str, space: str, process: int
) -> None:
    """This one lives, and never takes what it is handed."""
    storage, task = InMemoryStorage(), task_of(rule)
    study = make_study(task, storage)
    study.beat(Beat(Worker("idle", host, process, space), 1, idle=True))
    candidates = run_search(task, ANSWERS.show, study=study)
    assert candidates == UNDISTURBED[rule]
    check_looks(study, candidates)
    trials = storage.get_all_trials(study._study_id)
    assert any(trial.state == TrialState.FAIL for trial in trials) == handed


def test_a_living_worker_keeps_what_it_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until it dies; here its machine is another, and time passes fast."""
    storage, task = InMemoryStorage(), task_of()
    other = make_study(task, storage)
    worker = Worker("other", "elsewhere", 1)
    other.propose(propose_generation(0, [], task.space, task.budget, task.settings, task.seed))
    other.beat(Beat(worker, 1, idle=False))
    held = other.hold(other.entries()[2], worker)
    assert held is not None
    other.add(held, ANSWERS.show(held.proposal.subnet, np.array([5, 7])))
    waits: list[set[str | None]] = []

    def sleep(seconds: float) -> None:
        waits.append({entry.holder for entry in other.entries() if not entry.finished})
        if len(waits) == 3:
            monkeypatch.setattr("noah.nas.worker.LAPSE_SECONDS", -1.0)

    monkeypatch.setattr("noah.nas.loop.time.sleep", sleep)
    candidates = run_search(task, ANSWERS.show, study=make_study(task, storage))
    assert len(waits) == 3 and all("other" in holders for holders in waits)  # all others of the round have answered
    assert rank(candidates)[:4] == rank(UNDISTURBED["exact"])[:4]
    assert [c.subnet for c in candidates] == [c.subnet for c in UNDISTURBED["exact"]]
    taken = other.entries()[2]
    assert taken.looks[0].images == (5, 7)
    check_looks(other, candidates)


def test_everyone_who_has_not_signed_yet_has_the_same_time_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One takes its candidate later than another that died doing so: it is not taken for dead with the other."""
    storage, task, now = InMemoryStorage(), task_of("off"), [0.0]
    study = make_study(task, storage)
    first, second = 3, 5
    study.propose(propose_generation(0, [], task.space, task.budget, task.settings, task.seed))
    study.beat(Beat(Worker("other", "elsewhere", 1), 1, idle=False))  # without whom all who have not signed are dead

    def take_without_signing(index: int) -> None:
        trial = study._trial_id(study.entries()[index])
        assert storage.set_trial_state_values(trial, TrialState.RUNNING)

    def show(subnet: Subnet, images: NDArray[np.int64]) -> Look:
        if study.entries()[second].holder is None and not now[0]:
            now[0] = UNSIGNED_SECONDS / 2
            take_without_signing(second)
        return ANSWERS.show(subnet, images)

    waits: list[set[int]] = []

    def sleep(seconds: float) -> None:
        waits.append({entry.proposal.index for entry in study.entries() if not entry.finished})
        now[0] += UNSIGNED_SECONDS / 4

    take_without_signing(first)
    monkeypatch.setattr("noah.nas.loop.Watch", lambda **_: Watch(lambda: now[0]))
    monkeypatch.setattr("noah.nas.loop.time.sleep", sleep)
    candidates = run_search(task, show, study=make_study(task, storage))
    assert {frozenset(waiting) for waiting in waits} == {frozenset({first, second}), frozenset({second})}
    assert waits.count({second}) == 2  # the half by which it came later
    assert candidates == UNDISTURBED["off"]
    check_looks(study, candidates)


@pytest.mark.parametrize("rule", ["exact", "off"])
def test_a_search_that_runs_out_of_time_has_a_winner(rule: str) -> None:
    storage, task = InMemoryStorage(), task_of(rule)
    shown: Counter[Subnet] = Counter()

    def show(subnet: Subnet, images: NDArray[np.int64]) -> Look:
        shown[subnet] += len(images)
        return ANSWERS.show(subnet, images)

    study = make_study(task, storage)
    told: list[int] = []
    candidates = work(
        study,
        task,
        show,
        this_worker(),
        out_of_time=lambda: bool(shown),
        tell=lambda candidates: told.append(len(candidates)),
    )
    complete = [candidate for candidate in candidates if candidate.outcome.complete]
    assert len(complete) == 1
    assert max(shown.values()) == IMAGES
    assert (told[0], told[-1]) == (0, len(candidates))
    if rule == "off":
        assert sum(shown.values()) == IMAGES  # one after the other
    else:
        assert len(shown) == 8  # each had its chance
    assert all(entry.holder is None for entry in study.entries())
    assert [entry for entry in study.entries() if entry.finished] == []  # its last looks are no part of the race
    # Going on, nothing else is shown twice.
    assert work(study, task, show, this_worker()) == UNDISTURBED[rule]
    totals = {candidate.subnet: candidate.score.total for candidate in UNDISTURBED[rule]}
    assert 0 < shown.pop(candidates[0].subnet) - totals.pop(candidates[0].subnet) < IMAGES
    assert shown == totals


@pytest.mark.parametrize("rule", ["exact", "paired", "off"])
@pytest.mark.parametrize("looks", [1, 9, 20])
def test_a_search_that_runs_out_of_time_has_seen_those_that_are_invited(rule: str, looks: int) -> None:
    space = make_space(4, 8, {"lora": (1, 2), "adapter": (1, 3), "bias": (1,)}, (0, 2, 4))
    changes = {"baselines": True, "population": 12, "rerank": 1, "invited": ("lora", "lora+bias", "linear")}
    task = make_task(task_of(rule, **changes).settings, space=space, budget=parameter_budget(900, 8), images=IMAGES)
    shown = 0

    def show(subnet: Subnet, images: NDArray[np.int64]) -> Look:
        nonlocal shown
        shown += 1
        return ANSWERS.show(subnet, images)

    storage = InMemoryStorage()
    found = work(make_study(task, storage), task, show, this_worker(), out_of_time=lambda: shown >= looks)
    invited = {candidate.subnet.kinds for candidate in found if candidate.origin in (SINGLE, EVEN)}
    assert {("lora",), ("lora", "bias"), ()} <= invited
    assert all(each.outcome.complete for each in found if is_invited(each.origin, each.subnet, task.settings))
    assert [each.index for each in found] == sorted({each.index for each in found})
    # Going on, it ends as a search that had the time.
    assert work(make_study(task, storage), task, ANSWERS.show, this_worker()) == run_search(task, ANSWERS.show)


FEW = make_space(2, 8, {"prompt": (1, 2)}, (1, 2))
ALL = 2 + 4
"""Subnets of `FEW`: a width in its first block, or in both."""


@pytest.mark.parametrize("sampler", ["evolution", "nsga2", "tpe", "random", "published"])
@pytest.mark.parametrize(
    ("budget", "inside"),
    [
        (Budget(), ALL),
        (parameter_budget(16, 8), 1 + 1 + 1),
        (Budget((Bound("macs", 2, lambda subnet: sum(subnet.prompt)),)), 1 + 1 + 1),
    ],
    ids=["none", "parameters", "macs"],
)
def test_a_search_that_has_seen_the_whole_space_knows_it(sampler: str, budget: Budget, inside: int) -> None:
    settings = SETTINGS.model_copy(update={"sampler": sampler, "population": 2, "generations": 9})
    task = make_task(settings, space=FEW, budget=budget, images=IMAGES)
    candidates = run_search(task, ANSWERS.show)
    assert len(candidates) == inside
    assert is_exhausted(candidates, task)
    assert not is_exhausted(candidates[:-1], task)
    short = replace(task, settings=settings.model_copy(update={"generations": 0}))
    assert not is_exhausted(run_search(short, ANSWERS.show), short)


def test_what_other_workers_hold_is_left_to_see() -> None:
    settings = SETTINGS.model_copy(update={"population": 2, "generations": 9})
    task = make_task(settings, space=FEW, images=IMAGES, budget=Budget())
    candidates = run_search(task, ANSWERS.show)
    assert not is_exhausted(candidates[:2] + candidates[3:], task)


def test_a_finished_search_is_read_and_nothing_else() -> None:
    storage, task = InMemoryStorage(), task_of()
    run_search(task, ANSWERS.show, study=make_study(task, storage))

    def show(*_: object) -> Look:
        raise AssertionError("shown again")

    before = [trial.state for trial in storage.get_all_trials(0)]
    assert run_search(task, show, study=make_study(task, storage)) == UNDISTURBED["exact"]
    assert [trial.state for trial in storage.get_all_trials(0)] == before


def test_a_budget_that_admits_nothing_is_refused_before_anything_is_written() -> None:
    task = make_task(budget=parameter_budget(10, SPACE.embed_dim))
    study = make_study(task)
    with pytest.raises(EmptySpaceError):
        work(study, task, ANSWERS.show, this_worker())
    assert study.entries() == []


def test_what_a_candidate_has_to_beat() -> None:
    candidates = run_search(task_of("off", objective="accuracy,params"), ANSWERS.show)
    for top in (1, 3, 24):
        for cost in (0, *(c.cost for c in candidates)):
            rivals = rank([c for c in candidates if c.cost <= cost])
            assert bound_of(candidates, cost, top) == (rivals[top - 1].outcome if len(rivals) >= top else None)
    given_up = [c for c in UNDISTURBED["exact"] if not c.outcome.complete]
    assert given_up
    assert bound_of(given_up, 0, 1) is None


def test_objective_values() -> None:
    candidate = run_search(task_of("off", objective="accuracy,params"), ANSWERS.show)[0]
    assert objective_values(candidate, SETTINGS) == [candidate.score.accuracy]
    two = SETTINGS.model_copy(update={"objective": "accuracy,params"})
    assert objective_values(candidate, two) == [candidate.score.accuracy, candidate.parameters]


def share(folder: Path, start: Any, shown: Any) -> None:
    """One of several processes that work on searches; tells which images it showed to which subnet."""
    looked = []

    def show(subnet: Subnet, images: NDArray[np.int64]) -> Look:
        time.sleep(0.01)  # long enough for the other process to get its turn
        looked.append((subnet.to_json(), images.tolist()))
        return ANSWERS.show(subnet, images)

    for rule in ("exact", "off"):
        start.wait()
        work(make_study(task_of(rule), journal_storage(folder / rule)), task_of(rule), show, this_worker())
    shown.put(looked)


@pytest.mark.slow
def test_two_processes_share_a_search(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start, shown = context.Barrier(2), context.Queue()
    processes = [context.Process(target=share, args=(tmp_path, start, shown)) for _ in range(2)]
    for process in processes:
        process.start()
    looked = [shown.get(timeout=200) for _ in processes]
    for process in processes:
        process.join()
    assert all(looked)  # each did something
    total = 0
    for rule in ("exact", "off"):
        study = make_study(task_of(rule), journal_storage(tmp_path / rule))
        candidates = work(study, task_of(rule), fail, this_worker())
        check_looks(study, candidates)
        assert candidates == UNDISTURBED[rule]
        total += sum(candidate.score.total for candidate in candidates)
    # What was shown is what was written down: nothing was done twice, or for nothing.
    assert sum(len(images) for looks in looked for _, images in looks) == total


def fail(*_: object) -> Look:
    raise AssertionError("there was nothing left to do")
