"""A search on one, two or three machines, which may die: the candidates and the winner of one process, to the byte."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from noah.cluster.session import connect
from noah.progress import Detail
from noah.runs.folder import Run
from noah.stages.search_stage import search
from tests.conftest import TinySettings
from tests.noah.cluster.machines import MACHINE, machines, processes_of
from tests.noah.tiny_run import Recorder, content, make_materials, start_run

pytestmark = pytest.mark.long

CANDIDATES = 60
CHANGES = {
    "supernet.epochs": 1,
    "search.generations": 2,
    "search.population": CANDIDATES // 3,
    "search.parents": 5,
    "search.mutations": 8,
    "search.crossovers": 8,
    "search.top": 5,
    "search.rerank": 3,
    "search.rerank_epochs": 1,
    "hardware.threads": 1,
    "hardware.evaluation_batch_size": 4,
}


class Killing(Recorder):
    """Kills a process that evaluates once so many candidates are finished, and later all that runs on its machine."""

    def __init__(self, nodes: Any, first: int, second: int) -> None:
        super().__init__()
        self.left = [(first, self._kill_process), (second, self._kill_machine)]
        self.nodes = nodes
        self.killed: list[str] = []

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        super().update(done, text, detail)
        if self._title == "searching subnets" and self.left and done >= self.left[0][0]:
            self.left.pop(0)[1]()

    def _kill_process(self) -> None:
        victim = evaluating()[0]
        victim.kill()
        self.killed.append("process")

    def _kill_machine(self) -> None:
        victim = next(node for node in self.nodes.list_all_nodes() if not node.head)
        self.nodes.remove_node(victim, allow_graceful=False)
        self.nodes.add_node(**MACHINE)
        self.killed.append("machine")


def evaluating() -> list[psutil.Process]:
    """The processes of this test's cluster that do so."""
    return processes_of("_Member")


@pytest.mark.timeout(1800)  # each process loads torch, which takes a minute of a busy core
def test_the_candidates_and_the_winner_of_one_process(tmp_path: Path, tiny_settings: TinySettings) -> None:
    """One cluster for all of it, because starting one takes longer than everything else."""
    materials = make_materials(tiny_settings(CHANGES))
    run = start_run(tmp_path, materials, "single")
    search(run, materials, Recorder())
    expected = content(run)
    assert expected["search/candidates.jsonl"].count(b"\n") == CANDIDATES

    def again(name: str, recorder: Recorder, cluster: Any) -> Run:
        copy = tmp_path / name
        shutil.copytree(run.folder, copy)
        shutil.rmtree(copy / "search")
        other = Run(copy)
        search(other, materials, recorder, cluster=cluster)
        return other

    with machines(1) as nodes, connect(nodes.address, Recorder()) as cluster:
        for count in (1, 2, 3):
            recorder = Recorder()
            assert content(again(f"on{count}", recorder, cluster)) == expected
            told = [line for line in recorder.said if line.startswith("workers")]
            assert told == [f"workers   {count} evaluating processes on {machines_of(count)} (1 core each)"]
            assert not evaluating()
            nodes.add_node(**MACHINE)
        killing = Killing(nodes, CANDIDATES // 3, CANDIDATES // 2)
        assert content(again("killed", killing, cluster)) == expected
        assert killing.killed == ["process", "machine"]
        assert any(
            line.startswith("retry") for line in killing.said
        )  # the machine may have had a process still starting
        failing(cluster, tmp_path, again)


def machines_of(count: int) -> str:
    return "1 machine" if count == 1 else f"{count} machines"


def failing(cluster: Any, folder: Path, again: Any) -> None:
    """A driver that is stopped ends the processes, and goes on with what they answered."""
    recorder = Recorder({"searching subnets": CANDIDATES // 3})
    with pytest.raises(KeyboardInterrupt):
        again("stopped", recorder, cluster)
    psutil.wait_procs(evaluating(), timeout=30)
    assert not evaluating()
