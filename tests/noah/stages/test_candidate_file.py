"""The list of a search's candidates: small, written once, and the same whatever happened on the way."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from noah.checks.verification import check_run
from noah.errors import RunError
from noah.evaluation.accuracy import Score
from noah.files.jsonl import read_lines, to_lines
from noah.nas.candidate import Candidate, rank
from noah.nas.outcome import Outcome
from noah.runs.folder import RUN_FILE, Run
from noah.settings.layers import resolve
from noah.space.kinds import KINDS
from noah.space.subnet import Subnet
from noah.stages.candidate_file import CANDIDATES, CandidateFile, check_fits, largest_line
from noah_cli.report.searched import Searched, gather_searched

COUNT, IMAGES = 800, 15_150
MEBIBYTE = 2**20


def make_candidates(count: int, images: int) -> list[Candidate]:
    """As a race leaves them: half were shown every image, the others some of them in any order."""
    rng = np.random.default_rng(0)
    made = []
    for index in range(count):
        order = rng.permutation(images)
        shown = order if index % 2 == 0 else order[: rng.integers(1, images)]
        wrong = np.sort(shown[rng.random(len(shown)) < rng.uniform(0.05, 0.6)]).tolist()
        score = Score(len(shown) - len(wrong), len(shown), float(rng.uniform(0.1, 3)))
        outcome = Outcome(score, tuple(wrong), None if len(shown) == images else tuple(shown.tolist()))
        subnet = Subnet.uniform(12, lora=1 + index % 8, adapter=index // 8)
        made.append(Candidate(index, index // 50, "mutation", subnet, 1000 + index, outcome))
    return made


def finishing(candidates: Sequence[Candidate], seed: int) -> Iterator[list[Candidate]]:
    """All that are finished, again and again, as several workers finish them: not in their order."""
    rng, finished = random.Random(seed), [False] * len(candidates)
    while not all(finished):
        waiting = [index for index, done in enumerate(finished) if not done][:8]
        for index in rng.sample(waiting, rng.randint(1, min(3, len(waiting)))):
            finished[index] = True
        yield [candidate for candidate, done in zip(candidates, finished, strict=True) if done]


def follow(path: Path, candidates: Sequence[Candidate], seed: int = 0, *, stop_at: int | None = None) -> int:
    """Let the file follow a search, to its end or until it is killed; gives the bytes that were written."""
    file, written, before = CandidateFile(path), 0, (0, 0)
    for finished in finishing(candidates, seed):
        file.follow(finished)
        written, before = written + _newly(path, before), _state(path)
        if stop_at is not None and len(finished) >= stop_at:
            return written
    file.order(candidates)
    return written + _newly(path, before)


def _state(path: Path) -> tuple[int, int]:
    return path.stat().st_ino, path.stat().st_size


def _newly(path: Path, before: tuple[int, int]) -> int:
    inode, size = _state(path)
    return size - before[1] if inode == before[0] else size


def known(candidate: Candidate) -> tuple[Any, ...]:
    """What is told of a candidate; of the images that it was shown not the order."""
    shown = candidate.outcome.shown
    return (
        *(candidate.index, candidate.generation, candidate.origin, candidate.subnet, candidate.parameters),
        *(candidate.score, candidate.outcome.wrong, None if shown is None else frozenset(shown), candidate.cost),
    )


def plain(candidate: Candidate) -> dict[str, Any]:
    """The line of an earlier version."""
    shown = candidate.outcome.shown
    lists = {"wrong": list(candidate.outcome.wrong), "shown": None if shown is None else list(shown)}
    return {**candidate.to_json(), **lists}


@pytest.fixture(scope="module")
def many() -> list[Candidate]:
    return make_candidates(COUNT, IMAGES)


def test_800_candidates_on_15150_images_take_a_few_mebibytes_and_are_written_about_once(
    many: list[Candidate], tmp_path: Path
) -> None:
    path = tmp_path / "candidates.jsonl"
    written = follow(path, many)
    size = path.stat().st_size
    assert len("".join(json.dumps(plain(candidate)) for candidate in many)) > 32 * MEBIBYTE  # which nobody read
    assert size < 4 * MEBIBYTE
    assert written <= 2 * size + 1  # once as they came, and once in their order
    assert list(map(known, map(Candidate.from_json, read_lines(path)))) == list(map(known, many))


def test_the_report_and_verify_read_them(many: list[Candidate], tmp_path: Path) -> None:
    run, best = made_run(tmp_path, many), rank(many)[0]
    searched = gather_searched(run, run.description(), "noah search --resume")
    assert isinstance(searched, Searched)
    assert list(map(known, searched.candidates)) == list(map(known, many))
    checks = {check.what: check for check in check_run(run)}
    found = checks["winner (search/best.json)"]
    assert (found.state, found.why) == ("ok", f"number {best.index} of 800 candidates, inside the budget")


def made_run(folder: Path, candidates: list[Candidate]) -> Run:
    """A run of which only the search is there."""
    run = Run(folder / "photos" / "first")
    follow(run.path(*CANDIDATES), candidates)
    best = rank(candidates)[0]
    figures = {"evaluated": len(candidates), "planned": len(candidates), "stopped": None, "as_good": 1, "given_up": 0}
    more = {"images_shown": 1, "budget": {}, "costs": {}, "objective": "accuracy"}
    run.write_json({**best.to_json(), **figures, **more}, "search", "best.json")
    settings = resolve([])[0].model_dump(mode="json")
    run.path(RUN_FILE).write_text(yaml.safe_dump({"settings": settings, "data": {"validation": IMAGES}}))
    return run


def test_the_order_in_which_candidates_finish_leaves_no_trace(tmp_path: Path) -> None:
    candidates = make_candidates(40, 60)
    for seed in range(4):
        follow(tmp_path / f"{seed}.jsonl", candidates, seed)
    follow(tmp_path / "in-order.jsonl", candidates)
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


@pytest.mark.parametrize("torn", [b"", b'{"index": 3', b"\xff\n", b"[]\n"])
def test_a_killed_search_that_goes_on_leaves_the_same_bytes(tmp_path: Path, torn: bytes) -> None:
    candidates = make_candidates(40, 60)
    whole, path = tmp_path / "whole.jsonl", tmp_path / "killed.jsonl"
    follow(whole, candidates)
    for seed, place in enumerate((1, 7, 39)):
        follow(path, candidates, seed, stop_at=place)
        lines = read_lines(path)
        assert len({line["index"] for line in lines}) == len(lines) >= place
        path.write_bytes(path.read_bytes() + torn)
        follow(path, candidates, seed)
        assert path.read_bytes() == whole.read_bytes()


def test_while_a_search_goes_on_every_finished_candidate_is_there_once(tmp_path: Path) -> None:
    candidates, path = make_candidates(40, 60), tmp_path / "candidates.jsonl"
    file = CandidateFile(path)
    for finished in finishing(candidates, 1):
        file.follow(finished)
        assert sorted(line["index"] for line in read_lines(path)) == [candidate.index for candidate in finished]


def test_lists_of_earlier_versions_are_read(tmp_path: Path) -> None:
    candidates = make_candidates(40, 60)
    run = made_run(tmp_path, candidates)
    lines = [json.dumps(plain(candidate)) + "\n" for candidate in candidates]
    run.path(*CANDIDATES).write_text("".join(lines))
    run.write_json(run.read_json("search", "best.json") | plain(rank(candidates)[0]), "search", "best.json")
    searched = gather_searched(run, run.description(), "noah search --resume")
    assert isinstance(searched, Searched)
    assert list(map(known, searched.candidates)) == list(map(known, candidates))
    checks = {check.what: check.state for check in check_run(run)}
    assert checks["winner (search/best.json)"] == "ok"


def test_a_search_whose_candidates_would_not_fit_is_refused_before_it_begins(many: list[Candidate]) -> None:
    path = Path("candidates.jsonl")
    check_fits(path, COUNT, IMAGES, 12)
    with pytest.raises(RunError, match=r"would have [0-9,]* bytes, and 33,554,432 are the most that noah reads"):
        check_fits(path, COUNT, 10 * IMAGES, 12)


def test_a_line_is_no_longer_than_is_reckoned_with(many: list[Candidate]) -> None:
    widest = Subnet(**{kind: [99_999] * 12 for kind in KINDS})
    score = Score(0, IMAGES, 1.2345678901234567e-300)
    outcome = Outcome(score, tuple(range(IMAGES)), tuple(range(IMAGES)))
    long = Candidate(99_999, 99_999, "mutation-or-so", widest, 10**12, outcome, 1.2345678901234567e-300)
    assert max(len(to_lines([candidate.to_json()])) for candidate in (*many, long)) <= largest_line(IMAGES, 12)
