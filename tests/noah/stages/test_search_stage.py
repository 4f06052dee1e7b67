"""The stage that searches: its front, its final choice, its time limit, and those that join it."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
import torch

from noah.errors import CommandOrderError, RunError
from noah.evaluation.accuracy import Score
from noah.files.jsonl import read_lines
from noah.files.packed import unpack_images
from noah.nas.candidate import Candidate, front, rank
from noah.nas.evolution import SINGLE, TYPICAL
from noah.nas.outcome import Outcome
from noah.prepare.context import Materials
from noah.prepare.run_budget import run_budget
from noah.progress import Silent
from noah.runs.folder import Run
from noah.runs.run_subnet import chosen_subnet
from noah.space.baselines import singles
from noah.space.budget import Bound, Budget
from noah.space.subnet import Subnet
from noah.stages import search_stage as search_module
from noah.stages.conclude_search import _rerank_result, instead
from noah.stages.finalist import Reranked
from noah.stages.rerank import read_reranked
from noah.stages.retrain_stage import retrain
from noah.stages.search_stage import finished_search, has_begun, join_search, search, wait_until_begun
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, content, make_materials, start_run

pytestmark = pytest.mark.usefixtures("one_thread")

TITLE = "searching subnets"
Start = Callable[..., tuple[Run, Materials]]


@pytest.fixture(scope="module")
def trained(tiny_settings: TinySettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A supernet folder, made once."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    materials = make_materials(tiny_settings())
    run = start_run(tmp_path_factory.mktemp("trained"), materials)
    with pytest.raises(KeyboardInterrupt):
        search(run, materials, Recorder({TITLE: 0}))
    torch.set_num_threads(threads)
    return run.path("supernet")


@pytest.fixture
def start(trained: Path, tiny_settings: TinySettings, tmp_path: Path) -> Start:
    """A function that starts a run whose supernet is trained, with changes to the settings."""

    def begin(changes: dict[str, Any] | None = None, *, name: str = "first") -> tuple[Run, Materials]:
        materials = make_materials(tiny_settings(changes))
        run = start_run(tmp_path, materials, name)
        shutil.copytree(trained, run.path("supernet"))
        return run, materials

    return begin


def candidates_of(run: Run) -> list[Candidate]:
    return [Candidate.from_json(line) for line in read_lines(run.path("search", "candidates.jsonl"))]


@pytest.mark.parametrize("objective", ["accuracy,params", "accuracy,macs"])
def test_two_objectives_leave_a_front(start: Start, objective: str) -> None:
    run, materials = start({"search.objective": objective, "search.racing": "off"})
    best = search(run, materials, Silent())
    candidates = candidates_of(run)
    stored = [Candidate.from_json(line) for line in run.read_json("search", "pareto.json")]
    assert stored == front(candidates)
    assert stored[0] == rank(candidates)[0] == Candidate.from_json(best)
    costs = [candidate.cost for candidate in candidates]
    assert min(costs) == stored[-1].cost > 0
    if objective == "accuracy,params":
        assert costs == [candidate.parameters for candidate in candidates]
    assert (best["objective"], len(best["certainty"]["indices"])) == (objective, 8)


def test_the_finalists_decide(start: Start) -> None:
    run, materials = start({"search.rerank": 3, "search.rerank_epochs": 1})
    best = search(run, materials, Silent())
    finalists = read_reranked(run.path("search", "rerank.jsonl"))
    candidates = candidates_of(run)
    assert [each.index for each in finalists] == [candidate.index for candidate in rank(candidates)[:3]]
    result = best["rerank"]
    order = sorted(finalists, key=lambda each: (-each.score.correct, each.score.cross_entropy))
    assert [each["index"] for each in result["finalists"]] == [each.index for each in order]
    assert result["certainty"]["indices"] == [each.index for each in order]
    assert best["index"] == order[0].index == best["certainty"]["indices"][0]
    assert chosen_subnet(run) == order[0].subnet
    assert Candidate.from_json(best) == candidates[order[0].index]  # its figures are those of the search


def test_single_modules_are_shown_every_image_and_the_gain_over_the_best_of_them_is_told(start: Start) -> None:
    changes = {"space.depths": [0, 3, 6], "search.baselines": True, "search.rerank": 2, "search.rerank_epochs": 2}
    changes |= {"search.generations": 3}  # four single modules, four even mixtures, and eight typical subnets
    run, materials = start({**changes, "search.rungs": 2, "search.top": 1, "search.parents": 1})
    best = search(run, materials, Silent())
    alone = [candidate for candidate in candidates_of(run) if candidate.origin == SINGLE]
    assert [candidate.subnet for candidate in alone] == list(
        singles(materials.space, run_budget(run, materials)).values()
    )
    assert all(candidate.outcome.complete for candidate in alone)
    reranked = best["rerank"]
    assert {candidate.index for candidate in alone} <= {each["index"] for each in reranked["finalists"]}
    told, last = reranked["single"], [each for each in reranked["finalists"] if len(each["losses"]) == 2]
    assert told["index"] in {each["index"] for each in last}
    first = reranked["finalists"][0]
    assert ("lead" in told) == (told["index"] != first["index"])
    assert told["won"] == (told["index"] == best["index"])
    if "lead" in told:
        right = {each["index"]: each["correct"] for each in last}
        assert told["lead"] * 18 == pytest.approx(right[first["index"]] - right[told["index"]])
    typical = [candidate for candidate in candidates_of(run) if candidate.origin == TYPICAL]
    assert all(candidate.outcome.complete for candidate in typical)
    assert best["typical"]["subnets"] == len(typical)
    assert best["typical"]["accuracy"] == pytest.approx(fmean(candidate.score.accuracy for candidate in typical))


def _finalist(index: int, subnet: Subnet, wrong: tuple[int, ...], cross_entropy: float) -> Reranked:
    return Reranked(index, subnet, Outcome(Score(18 - len(wrong), 18, cross_entropy), wrong), (1.0,))


@pytest.mark.parametrize(
    ("mixture", "wrong", "winner"),
    [
        ({"lora": 2, "adapter": 1}, (1, 2), 0),  # as many right, and the adapter costs work
        ({"lora": 2, "adapter": 1}, (1,), 1),  # one more right
        ({"lora": 1}, (1, 2, 3), 1),  # fewer right, but cheaper than the single module
        ({"lora": 4}, (1, 2), 0),  # as much work, but more parameters
    ],
)
def test_where_nothing_was_gained_the_cheaper_one_is_handed_over(
    start: Start, mixture: dict[str, int], wrong: tuple[int, ...], winner: int
) -> None:
    _, materials = start({})
    depth = materials.space.blocks
    single, other = Subnet.uniform(depth, lora=2), Subnet.uniform(depth, **mixture)
    finalists = [_finalist(1, other, wrong, 0.5), _finalist(0, single, (4, 5), 0.6)]
    candidates = [
        Candidate(each.index, 0, origin, each.subnet, 10, each.outcome)
        for each, origin in zip(finalists, ("mutation", SINGLE), strict=True)
    ]
    handed_over = instead(finalists, candidates, materials)
    assert (finalists[0] if handed_over is None else handed_over).index == winner


def test_how_certain_the_choice_is_is_told_of_the_winner(start: Start) -> None:
    """Also where a single module won in place of the mixture that was ahead of it."""
    _, materials = start({})
    depth, images = materials.space.blocks, 12
    finalists = [
        _finalist(1, Subnet.uniform(depth, lora=2, adapter=1), (1, 2), 0.5),
        _finalist(2, Subnet.uniform(depth, bias=1), (1, 2, 3, 6), 0.55),
        _finalist(0, Subnet.uniform(depth, lora=2), (4, 5), 0.6),
    ]
    candidates = [
        Candidate(each.index, 0, origin, each.subnet, 10, each.outcome)
        for each, origin in zip(finalists, ("mutation", "mutation", SINGLE), strict=True)
    ]
    told = {chosen: _rerank_result(finalists, chosen, candidates, images, materials.settings) for chosen in (0, 1)}
    assert [told[chosen]["certainty"]["indices"] for chosen in (0, 1)] == [[0, 1, 2], [1, 2, 0]]
    shares = {
        chosen: dict(zip(of["certainty"]["indices"], of["certainty"]["wins"], strict=True))
        for chosen, of in told.items()
    }
    assert shares[0] == pytest.approx(shares[1], abs=0.05)
    assert told[0]["certainty"]["lead"] == 0
    assert [each["index"] for each in told[0]["finalists"]] == [1, 2, 0]  # still the best first


def test_a_rerank_that_was_interrupted_goes_on(start: Start) -> None:
    changes = {"search.rerank": 2, "search.rerank_epochs": 1}
    whole, materials = start(changes, name="whole")
    search(whole, materials, Silent())
    run, materials = start(changes)
    title = f"training finalist 2 of 2, subnet {rank(candidates_of(whole))[1].index}"
    with pytest.raises(KeyboardInterrupt):
        search(run, materials, Recorder({title: 1}))
    assert not run.path("search", "best.json").exists()
    listener = Recorder()
    search(run, materials, listener)
    assert content(run) == content(whole)
    assert listener.bars[TITLE] == [8]  # no subnet was evaluated again


@pytest.mark.parametrize("racing", ["exact", "off"])
def test_a_search_that_was_stopped_by_its_time_goes_on_and_loses_nothing(start: Start, racing: str) -> None:
    whole, materials = start({"search.racing": racing, "search.population": 12}, name="whole")
    search(whole, materials, Silent())
    run, materials = start({"search.racing": racing, "search.population": 12})
    stopped = search(run, materials, Silent(), time_limit=1e-6)
    candidates = candidates_of(run)
    assert 1 <= len(candidates) == stopped["evaluated"] < stopped["planned"] == 24
    assert (stopped["stopped"], stopped) == ("time limit", run.read_json("search", "best.json"))
    assert Candidate.from_json(stopped) == rank(candidates)[0]
    assert chosen_subnet(run) == rank(candidates)[0].subnet  # it can be retrained as it is
    best = search(run, materials, Silent())
    assert best["stopped"] is None
    assert content(run) == content(whole)
    # The one candidate that a very early end shows the other images may be given up in the whole race.
    assert {candidate.subnet for candidate in candidates} <= {candidate.subnet for candidate in candidates_of(run)}


def test_a_search_that_an_earlier_version_began_goes_on(start: Start) -> None:
    """It wrote the numbers of images plainly, in the record and in the list of candidates."""
    changes = {"search.rerank": 2, "search.rerank_epochs": 1, "search.population": 12}
    whole, materials = start(changes, name="whole")
    search(whole, materials, Silent())
    run, materials = start(changes)
    interrupted = Recorder({TITLE: 5})
    with pytest.raises(KeyboardInterrupt):
        search(run, materials, interrupted)
    journal, candidates = run.path("search", "journal.log"), run.path("search", "candidates.jsonl")
    for path in (journal, candidates):
        records = [as_before(json.loads(line)) for line in path.read_text().splitlines()]
        path.write_text("".join(json.dumps(record) + "\n" for record in records))
    assert '"wrong": [' in candidates.read_text() and '"images": [' in journal.read_text()
    listener = Recorder()
    search(run, materials, listener)
    assert listener.bars[TITLE][0] == interrupted.bars[TITLE][-1] < 24
    assert content(run) == content(whole)


def as_before(value: Any) -> Any:
    """With all lists of images in plain numbers."""
    if not isinstance(value, dict):
        return value
    lists = ("wrong", "shown", "images")
    return {
        name: list(unpack_images(part)) if name in lists and isinstance(part, str) else as_before(part)
        for name, part in value.items()
    }


def test_a_limit_that_is_long_enough_stops_nothing(start: Start) -> None:
    whole, materials = start(name="whole")
    search(whole, materials, Silent())
    run, materials = start()
    assert search(run, materials, Silent(), time_limit=3600)["stopped"] is None
    assert content(run) == content(whole)


def test_a_database_instead_of_a_file(start: Start, tmp_path: Path) -> None:
    whole, materials = start(name="whole")
    search(whole, materials, Silent())
    url = f"sqlite:///{tmp_path / 'search.db'}"
    for name in ("first", "second"):  # two runs in one database
        run, materials = start({"search.storage": url}, name=name)
        if name == "first":
            with pytest.raises(KeyboardInterrupt):
                search(run, materials, Recorder({TITLE: 3}))
        search(run, materials, Silent())
        assert not run.path("search", "journal.log").exists()
        assert run.path("search", "candidates.jsonl").read_bytes() == (
            whole.path("search", "candidates.jsonl").read_bytes()
        )


@pytest.mark.parametrize("kind", ["file", "database"])
def test_a_record_that_is_gone_is_told(start: Start, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "search.db"
    run, materials = start({"search.storage": f"sqlite:///{path}"} if kind == "database" else {})
    with pytest.raises(KeyboardInterrupt):
        search(run, materials, Recorder({TITLE: 3}))
    (path if kind == "database" else run.path("search", "journal.log")).unlink()
    for stage in (search, join_search):
        with pytest.raises(RunError, match=r"is not in .* anymore\.\n") as raised:
            stage(run, materials, Silent())
        assert ("its database" in raised.value.problem) == (kind == "database")
    # As the hint says.
    run.path("search", "study.json").unlink()
    run.path("search", "candidates.jsonl").unlink()
    assert search(run, materials, Silent())["evaluated"] == 8


def test_a_worker_that_joins_writes_nothing_but_the_record(start: Start) -> None:
    whole, materials = start(name="whole")
    best = search(whole, materials, Silent())
    run, materials = start()
    with pytest.raises(KeyboardInterrupt):
        search(run, materials, Recorder({TITLE: 2}))
    before = content(run)
    assert has_begun(run)
    candidates = join_search(run, materials, Silent())
    assert candidates == candidates_of(whole)
    assert content(run) == before
    # Whoever concludes has nothing left to look at.
    listener = Recorder()
    assert search(run, materials, listener) == best
    assert listener.bars[TITLE] == [8]
    assert content(run) == content(whole)


def test_a_joined_search_heeds_its_own_time(start: Start) -> None:
    run, materials = start({"search.population": 12})
    with pytest.raises(KeyboardInterrupt):
        search(run, materials, Recorder({TITLE: 0}))
    candidates = join_search(run, materials, Silent(), time_limit=1e-6)
    assert 1 <= len(candidates) < 24


def test_joining_before_it_has_begun(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    run, materials = start()
    assert not has_begun(run)
    with pytest.raises(CommandOrderError, match="has not begun, and no process") as raised:
        wait_until_begun(run, Silent())
    assert raised.value.hint == f"Go on with it: noah search --resume --run {run.option}"
    with pytest.raises(RunError, match=r"study\.json is missing"):
        join_search(run, materials, Silent())
    # While another one holds the run it waits, until the search has begun.
    monkeypatch.setattr(search_module, "_WAIT_SECONDS", 0.01)
    listener, ended = Recorder(), threading.Event()
    with run.lock():
        waiting = threading.Thread(target=lambda: (wait_until_begun(run, listener), ended.set()))
        waiting.start()
        time.sleep(0.2)
        assert not ended.is_set()
        with pytest.raises(KeyboardInterrupt):
            search(run, materials, Recorder({TITLE: 0}))
        waiting.join(timeout=30)
    assert ended.is_set()
    assert listener.said == [f"waiting   for the process that trains the supernet of {run.name}"]


def test_nothing_is_begun_before_there_is_a_record(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the process dies in between, the next one begins anew, and nobody joins."""

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    run, materials = start()
    with monkeypatch.context() as patch:
        patch.setattr(search_module, "SearchStudy", die)
        with pytest.raises(KeyboardInterrupt):
            search(run, materials, Silent())
    assert not has_begun(run)
    assert search(run, materials, Silent())["evaluated"] == 8


FEW = {"search.population": 2, "search.generations": 9, "space": {"preset": "prompt", "prompt": [1], "depths": [1, 2]}}


@pytest.mark.parametrize("limit", [None, 1e-6])
def test_a_search_of_a_small_space_ends_by_itself_whatever_the_time(
    tiny_settings: TinySettings, tmp_path: Path, limit: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of two subnets the bound of work admits one, and both were planned: there is nothing to go on with."""
    materials = make_materials(tiny_settings(FEW))
    run = start_run(tmp_path, materials)
    cheapest = materials.space.smallest
    monkeypatch.setattr(
        search_module,
        "run_budget",
        lambda *_: Budget((Bound("macs", 1, lambda subnet: 1 if subnet == cheapest else 2),)),
    )
    best = search(run, materials, Silent(), time_limit=limit)
    assert (best["evaluated"], best["planned"], best["stopped"], best["exhausted"]) == (1, 2, None, True)
    assert finished_search(run) == best


def test_a_space_of_two_is_seen_whole(tiny_settings: TinySettings, tmp_path: Path) -> None:
    materials = make_materials(tiny_settings(FEW))
    run = start_run(tmp_path, materials)
    best = search(run, materials, Silent())
    assert (best["evaluated"], best["planned"], best["exhausted"]) == (2, 2, True)


def test_a_winner_that_was_chosen_early_is_retrained(start: Start) -> None:
    run, materials = start({"retrain.epochs": 1})
    search(run, materials, Silent(), time_limit=1e-6)
    assert retrain(run, materials, Silent())["subnet"] == chosen_subnet(run).to_json()


def test_the_result_says_what_was_done(start: Start) -> None:
    run, materials = start()
    best, candidates = search(run, materials, Silent()), candidates_of(run)
    assert list(best) == [
        *candidates[0].to_json(),
        *(
            "evaluated",
            "planned",
            "stopped",
            "exhausted",
            "as_good",
            "given_up",
            "images_shown",
            "space_size",
            "inside_budget",
        ),
        *("inside_budget_standard_error", "budget", "costs", "objective", "reference_count", "certainty", "rerank"),
        "typical",
    ]
    assert (best["evaluated"], best["planned"], best["stopped"], best["rerank"]) == (8, 8, None, None)
    assert best["given_up"] == sum(not candidate.outcome.complete for candidate in candidates)
    assert best["images_shown"] == sum(candidate.score.total for candidate in candidates)
    assert best["costs"] == {"parameters": best["parameters"]}
    assert best["certainty"]["indices"][0] == best["index"]
    assert sum(best["certainty"]["wins"]) == pytest.approx(1)
    assert not run.path("search", "pareto.json").exists()


def test_the_record_has_a_name_of_its_own(start: Start) -> None:
    names = set()
    for name in ("first", "second"):
        run, materials = start(name=name)
        search(run, materials, Silent())
        names.add(run.read_json("search", "study.json")["name"])
        assert run.read_json("search", "study.json")["name"].startswith(f"shapes/{name}-")
    assert len(names) == 2
