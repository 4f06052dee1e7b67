"""Tasks on a cluster whose machines come and go: each outcome once, in order, and nothing left running."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import psutil
import pytest

from noah.cluster.attempts import Outcome
from noah.cluster.deaths import MOST_CRASHES
from noah.cluster.reports import Report
from noah.cluster.resources import Resources
from noah.cluster.session import connect, count_slots
from noah.cluster.tasks import Task, run_tasks
from noah.errors import DataError, NoahError, UsageError
from noah.files.atomic import write_text
from noah.progress import Silent
from tests.noah.cluster import work
from tests.noah.cluster.machines import MACHINE, machines
from tests.noah.tiny_run import Recorder

pytestmark = pytest.mark.slow


def test_tasks_while_machines_come_and_go(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One cluster for all of it, because starting one takes longer than everything else."""
    with machines(2) as nodes, connect(nodes.address, recorder := Recorder()) as cluster:
        assert recorder.said[-1].endswith("joined: 3 machines, 2 cores")
        assert [count_slots(cluster.machines(), each) for each in (Resources(), Resources(gpus=1))] == [2, 0]

        told: list[Report] = []
        tasks = [
            Task("sum", partial(work.add, 1, 2)),
            Task("wrong", work.fail),
            Task("crash", work.crash),
            Task("never", work.crash),
            Task("last", partial(work.add, 3, 4), after="crash"),
        ]
        outcomes: dict[str, Outcome[int]] = {}
        for outcome in run_tasks(
            cluster,
            tasks,
            recorder,
            title="tasks",
            refused=lambda task: UsageError("not now") if task.name == "never" else None,
            told=told.append,
        ):
            assert outcome.name not in outcomes
            outcomes[outcome.name] = outcome
        assert (outcomes["sum"].value, outcomes["last"].value) == (3, 7)
        assert list(outcomes).index("last") > list(outcomes).index("crash")
        wrong = outcomes["wrong"]
        assert isinstance(wrong.error, DataError) and (wrong.error.problem, wrong.retries) == (
            "these images are wrong",
            0,
        )
        assert "in fail" in wrong.account
        crashed = outcomes["crash"]
        assert isinstance(crashed.error, NoahError) and crashed.retries == MOST_CRASHES - 1
        assert sum(line.startswith("retry     crash: a process died") for line in recorder.said) == MOST_CRASHES - 1
        assert isinstance(outcomes["never"].error, UsageError) and outcomes["never"].machine == ""
        assert any(str(report) == "sum: 3" for report in told)

        lost(cluster, nodes, tmp_path)
        left_early(cluster, tmp_path)
    printed = capfd.readouterr()
    assert "raylet" not in printed.out + printed.err


def lost(cluster: object, nodes: object, folder: Path) -> None:
    """A machine is removed without grace and another joins; what ran on it is done again, and nothing else is."""
    from noah.cluster.session import Cluster

    assert isinstance(cluster, Cluster)
    answer, counters = folder / "answer", [folder / f"starts{number}" for number in range(2)]
    tasks = [Task(f"wait {n}", partial(work.wait_for, str(answer), str(path))) for n, path in enumerate(counters)]
    recorder = Recorder()
    changed = False

    def all_starts() -> list[str]:
        return [line for path in counters if path.exists() for line in path.read_text().splitlines()]

    def change(report: Report) -> None:
        nonlocal changed
        if not changed and all(path.exists() for path in counters):
            changed = True
            victim = next(node for node in nodes.list_all_nodes() if not node.head)  # type: ignore[attr-defined]
            nodes.remove_node(victim, allow_graceful=False)  # type: ignore[attr-defined]
            nodes.add_node(**MACHINE)  # type: ignore[attr-defined]
        if changed and not answer.exists() and len(all_starts()) >= 3:  # the one that was lost has begun again
            write_text(answer, "42")

    tasks.insert(0, Task("clock", partial(work.add, 0, 0), Resources(cpus=0)))
    tasks += [Task(f"clock {n}", partial(work.add, 0, 0), Resources(cpus=0), after="clock") for n in range(1)]
    outcomes = list(run_tasks(cluster, tasks, _Ticking(recorder, change), title="waits"))
    values = {outcome.name: outcome.value for outcome in outcomes}
    assert len(outcomes) == len(tasks)
    assert [values["wait 0"], values["wait 1"]] == ["42", "42"]
    assert [line for line in recorder.said if line.startswith("retry")]
    starts = sorted(len(path.read_text().splitlines()) for path in counters)
    assert starts == [1, 2]


class _Ticking(Recorder):
    """Does something whenever the bar moves."""

    def __init__(self, inner: Recorder, tick: object) -> None:
        super().__init__()
        self.said = inner.said
        self.tick = tick

    def update(self, done: float, text: str = "", detail: object = None) -> None:
        self.tick(None)  # type: ignore[operator]


def left_early(cluster: object, folder: Path) -> None:
    """Whoever leaves the generator ends what runs."""
    from noah.cluster.session import Cluster

    assert isinstance(cluster, Cluster)
    counter = folder / "left"
    tasks = [Task("endless", partial(work.wait_for, str(folder / "never"), str(counter)))]
    running = run_tasks(cluster, tasks, _Stopping(counter), title="waits")
    with pytest.raises(KeyboardInterrupt):
        list(running)
    assert counter.exists()
    until = time.monotonic() + 20
    while _working() and time.monotonic() < until:
        time.sleep(0.1)
    assert not _working()


class _Stopping(Silent):
    """Interrupts as Ctrl-C does, once the task runs."""

    def __init__(self, counter: Path) -> None:
        self.counter = counter

    def update(self, done: float, text: str = "", detail: object = None) -> None:
        if self.counter.exists():
            raise KeyboardInterrupt


def _working() -> list[str]:
    """The processes of tasks; Ray names each after its own."""
    return [
        title
        for process in psutil.process_iter(["cmdline"])
        if (title := " ".join(process.info["cmdline"] or [])).startswith("ray::endless")
    ]


def test_nothing_is_left_of_ray_on_this_machine() -> None:
    recorder = Recorder()
    others = set(psutil.Process().children(recursive=True))  # those of tests before
    with connect("local", recorder):
        started = [child for child in psutil.Process().children(recursive=True) if child not in others]
        assert any("raylet" in child.name() for child in started)
    _, alive = psutil.wait_procs(started, timeout=20)
    assert alive == []
