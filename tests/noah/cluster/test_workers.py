"""Workers that open something once: pieces that fail, kill, or are left when the driver leaves."""

from __future__ import annotations

import time
from contextlib import closing
from functools import partial
from pathlib import Path

import psutil
import pytest

from noah.cluster.attempts import Outcome
from noah.cluster.deaths import MOST_CRASHES
from noah.cluster.resources import Resources
from noah.cluster.session import connect
from noah.cluster.workers import run_on_workers
from noah.errors import DataError, NoahError
from tests.noah.cluster.machines import machines, processes_of
from tests.noah.cluster.opened_work import die, open_adder, refuse
from tests.noah.tiny_run import Recorder


@pytest.mark.slow
def test_pieces_and_what_becomes_of_them(tmp_path: Path) -> None:
    """One cluster for all of it, because starting one takes longer than everything else."""
    recorder = Recorder()
    with machines(2) as nodes, connect(nodes.address, recorder) as cluster:
        pieces: dict[str, int | str] = {f"p{number}": number for number in range(20)}
        pieces |= {"kill": "kill", "fail": "fail", "break": "break", "last": 100}
        start = partial(open_adder, tmp_path / "opened", 10)
        done: dict[str, Outcome[int]] = {}
        for each in run_on_workers(cluster, start, pieces, Resources(), recorder, title="adding", unit="pieces"):
            assert each.name not in done
            done[each.name] = each
        assert set(done) == set(pieces)
        assert [done[f"p{number}"].value for number in range(20)] == list(range(10, 30))
        assert done["last"].value == 110
        assert isinstance(done["fail"].error, DataError) and done["fail"].error.hint == "Look at it."
        assert isinstance(done["break"].error, ZeroDivisionError) and "in add" in done["break"].account
        assert isinstance(done["kill"].error, NoahError) and done["kill"].retries == MOST_CRASHES - 1
        assert sum(line.startswith("retry     kill: a process died") for line in recorder.said) == MOST_CRASHES - 1
        assert recorder.bars["adding"][-1] == 24
        # Two at the beginning, and one more for each that died while there was still work.
        assert 2 <= len((tmp_path / "opened").read_text().splitlines()) <= 2 + MOST_CRASHES

        outcomes = run_on_workers(cluster, start, pieces, Resources(), recorder, title="adding", unit="pieces")
        with closing(outcomes):
            next(outcomes)
        assert _at_work() == []

        for wrong, told in ((refuse, "the model does not run here"), (die, "A worker cannot start: a process died")):
            with pytest.raises(NoahError, match=told):
                list(run_on_workers(cluster, wrong, {"p": 1}, Resources(), recorder, title="adding", unit="pieces"))


def _at_work() -> list[psutil.Process]:
    """The processes of workers, once those that were just killed have had a moment to end."""
    for _ in range(100):
        alive = processes_of("_Worker")
        if not alive:
            return []
        time.sleep(0.1)
    return alive
