"""Two processes search one run, and one of them is killed: the search ends as one that was never shared."""

from __future__ import annotations

import contextlib
import json
import random
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noah.files.packed import unpack_images
from noah.prepare.context import prepare
from noah.runs.folder import Run
from noah.stages.search_stage import search
from tests.commands import noah, start_noah, write_settings
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder

pytestmark = pytest.mark.slow

CANDIDATES = 100
CHANGES = {
    "supernet.epochs": 1,
    "search.generations": 3,
    "search.population": CANDIDATES // 4,
    "search.parents": 5,
    "search.mutations": 10,
    "search.crossovers": 10,
    "search.top": 5,
}
TOP = 5


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings) -> Path:
    """A working folder whose run `whole` was searched by one process."""
    folder = tmp_path_factory.mktemp("workers")
    write_settings(folder, tiny_settings(CHANGES))
    with contextlib.chdir(folder):
        outcome = noah("search", "--run", "whole")
    assert outcome.code == 0, outcome.err
    return folder


@pytest.fixture
def begun(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run of the same settings, whose supernet is trained and of whose candidates none is evaluated."""
    shutil.copytree(undisturbed, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    run = Run(Path("runs/shapes/whole"))
    shutil.rmtree(run.path("search"))
    with pytest.raises(KeyboardInterrupt):
        search(run, prepare(run.settings(), Recorder()), Recorder({"searching subnets": 0}))
    return run


def journal(run: Run) -> list[dict[str, Any]]:
    """The whole lines of the search's record."""
    lines = run.path("search", "journal.log").read_bytes().rpartition(b"\n")[0].splitlines()
    return [json.loads(line) for line in lines]


def signatures(run: Run) -> set[str]:
    """The processes that have taken a candidate."""
    return {line["user_attr"]["worker"] for line in journal(run) if "worker" in line.get("user_attr", {})}


def looks(run: Run) -> int:
    return sum(key.startswith("look.") for line in journal(run) for key in line.get("user_attr", {}))


@contextlib.contextmanager
def two_processes(folder: Path) -> Iterator[dict[str, subprocess.Popen[str]]]:
    processes = {
        "began": start_noah("search", "--resume", "--run", "whole", folder=folder),
        "joined": start_noah("search", "--join", "whole", folder=folder),
    }
    try:
        yield processes
    finally:
        for process in processes.values():
            process.kill()
            process.communicate()


def top(run: Run) -> list[tuple[Any, ...]]:
    candidates = [json.loads(line) for line in run.path("search", "candidates.jsonl").read_text().splitlines()]
    assert [candidate["index"] for candidate in candidates] == list(range(CANDIDATES))
    for candidate in candidates:
        shown = unpack_images(candidate["shown"] or "")
        assert len(set(shown)) == len(shown)
    complete = [candidate for candidate in candidates if candidate["shown"] is None]
    ranked = sorted(complete, key=lambda c: (-c["correct"], c["cross_entropy"], c["index"]))[:TOP]
    # Images come in other batches, and so with other rounding.
    return [(c["index"], c["correct"], pytest.approx(c["cross_entropy"], rel=1e-5)) for c in ranked]


@pytest.mark.parametrize("victim", ["began", "joined"])
def test_one_of_two_is_killed(begun: Run, undisturbed: Path, victim: str) -> None:
    more = random.Random(victim).randrange(60)
    with two_processes(Path.cwd()) as processes:
        while len(signatures(begun)) < 2 and all(process.poll() is None for process in processes.values()):
            time.sleep(0.02)
        done = looks(begun)
        while looks(begun) < done + more and processes[victim].poll() is None:
            time.sleep(0.005)
        killed, other = processes.pop(victim), next(iter(processes.values()))
        killed.send_signal(signal.SIGKILL)
        killed.communicate(timeout=60)
        out, err = other.communicate(timeout=200)
    assert killed.returncode == -signal.SIGKILL
    assert (other.returncode, err) == (0, "")
    assert len(signatures(begun)) == 2  # both had a part in it
    assert f"of {CANDIDATES} evaluated" in out
    best, expected = (
        json.loads(run.path("search", "best.json").read_text())
        for run in (begun, Run(undisturbed / "runs/shapes/whole"))
    )
    assert top(begun) == top(Run(undisturbed / "runs/shapes/whole"))
    assert (best["index"], best["subnet"], best["evaluated"]) == (expected["index"], expected["subnet"], CANDIDATES)
    assert noah("search", "--resume").out.count("is finished; there is nothing left to do") == 1
    assert re.search(r"^next      noah retrain", out, re.MULTILINE)
