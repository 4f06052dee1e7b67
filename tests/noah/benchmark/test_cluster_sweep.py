"""A sweep on several machines: the rows of one process, whatever dies meanwhile."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import yaml

from noah.benchmark.cells import Cell, plan_cells
from noah.benchmark.cluster_sweep import (
    FORECAST_FILE,
    Saving,
    SeenStore,
    Spread,
    TaskForecast,
    _collect,
    _stored,
    _tasks,
    cell_resources,
    order_cells,
    run_stored_cell,
    run_sweep_on_cluster,
    settle,
)
from noah.benchmark.rows import Row, read_rows
from noah.benchmark.sweep import run_cell, run_sweep
from noah.benchmark.sweep_settings import SweepSettings, begin_sweep, check_same_sweep, sweep_digest
from noah.cluster.attempts import Outcome
from noah.cluster.resources import Resources
from noah.cluster.session import Cluster
from noah.cluster.tasks import Task
from noah.errors import NoahError, SettingsError, StorageNotSeenError, UsageError
from noah.files.folder_store import FolderStore
from noah.progress import Silent
from noah.settings.layers import Layer
from noah.settings.settings import HardwareSettings
from tests.bucket import bucket
from tests.commands import write_settings
from tests.conftest import TinySettings
from tests.noah.benchmark.tiny_sweep import SUITE, stable, tiny_sweep
from tests.noah.cluster.machines import MACHINE, machines
from tests.noah.tiny_run import Recorder

__all__ = ["bucket"]

pytestmark = pytest.mark.usefixtures("one_thread")
SHIFT = "rendered_dsprites_loc_noise"


@pytest.fixture
def sweep(tiny_settings: TinySettings, tmp_path: Path) -> SweepSettings:
    return tiny_sweep(tiny_settings, tmp_path)


def known(searched: float, trained: float) -> TaskForecast:
    return TaskForecast(searched, trained, 100.0, None, None, "fp32")


def test_the_longest_cells_come_first_and_shifts_behind_their_source() -> None:
    cells = plan_cells(["digits", "rendered_dsprites_loc", SHIFT, "svhn"], ["noah", "linear"], [0])
    found = {"digits": known(90, 3), "rendered_dsprites_loc": known(50, 20)}
    assert [f"{cell.task} {cell.method}" for cell in order_cells(cells, SUITE.sources, found)] == [
        "svhn noah",  # nothing is known of it
        "svhn linear",
        "digits noah",
        "rendered_dsprites_loc noah",
        f"{SHIFT} noah",
        "rendered_dsprites_loc linear",
        f"{SHIFT} linear",
        "digits linear",
    ]


GPU_MACHINE = {"CPU": 32.0, "GPU": 4.0, "memory": 64 * 2.0**30}


def described(*machines: dict[str, float]) -> Cluster:
    """A cluster with such machines, of which only the description is asked for."""
    nodes = [
        {"NodeID": str(n), "NodeManagerHostname": f"node-{n}", "Alive": True, "Resources": machine}
        for n, machine in enumerate(machines)
    ]
    return Cluster(SimpleNamespace(nodes=lambda: nodes), own=False)


@pytest.mark.parametrize(
    ("asked", "gpus", "machines_there", "resources"),
    [
        ({}, 1.0, [GPU_MACHINE, {**GPU_MACHINE, "CPU": 16.0}], Resources(4, 1)),
        ({}, 0.5, [GPU_MACHINE], Resources(4, 0.5)),
        ({"threads": 3}, 1.0, [GPU_MACHINE], Resources(3, 1)),
        ({"device": "cpu"}, 1.0, [GPU_MACHINE], Resources(1, 0)),
        ({}, 1.0, [{"CPU": 8.0}], Resources(1, 0)),
        ({}, 1.0, [{"CPU": 8.0}, GPU_MACHINE], Resources(8, 1)),
        ({}, 0.01, [{"CPU": 1.0, "GPU": 8.0}], Resources(1, 0.01)),
    ],
)
def test_what_a_cell_gets(
    asked: dict[str, Any], gpus: float, machines_there: list[dict[str, float]], resources: Resources
) -> None:
    assert cell_resources(described(*machines_there), HardwareSettings(**asked), gpus, Silent()) == resources


def test_a_gpu_that_no_machine_has() -> None:
    with pytest.raises(UsageError, match="no machine of the cluster has a GPU"):
        cell_resources(described({"CPU": 8.0}), HardwareSettings(device="cuda"), 1.0, Silent())


def test_the_largest_forecast_decides_what_all_ask_for() -> None:
    small, large = known(9, 3), dataclasses.replace(known(9, 3), memory=4000.0, gpu_memory=30_000.0, gpu_total=80_000.0)
    found = {"digits": small, "svhn": large}
    resources, precision = settle(found, Resources(4, 0.5), Silent())
    assert resources == Resources(4, 0.5, memory=5120 * 2**20) and precision == "fp32"
    with pytest.raises(UsageError, match=r"--gpus 0\.25: a cell of svhn takes 30,000 MiB") as raised:
        settle(found, Resources(4, 0.25), Silent())
    assert "--gpus 0.38" in raised.value.hint
    assert settle({}, Resources(4, 1), Silent()) == (Resources(4, 1), None)
    mixed = {"digits": small, "svhn": dataclasses.replace(small, precision="bf16")}
    assert settle(mixed, Resources(), Silent())[1] == "fp32"  # which every machine computes


def test_what_takes_long_to_store_is_stored_seldom() -> None:
    now, stored = 0.0, []

    def store() -> None:
        nonlocal now
        now += 1  # a second
        stored.append(now)

    saving = Saving(Silent(), store, clock=lambda: now)
    with saving.bar("training", 100, "epochs") as bar:
        bar.update(0)
        for step in range(1, 1001):
            now += 0.1
            bar.update(step / 10)
    assert 5 <= len(stored) <= 7  # a twentieth of 100 s
    saving.save()
    assert len(stored) <= 8


def test_a_store_that_stops_answering_ends_no_cell_before_its_end() -> None:
    now, recorder = 0.0, Recorder()

    def store() -> None:
        raise NoahError("s3://b cannot be reached: no.")

    saving = Saving(recorder, store, clock=lambda: now)
    for _ in range(100):
        now += 0.5
        saving.step()
    notes = [line for line in recorder.said if line.startswith("note      The run could not be stored")]
    assert 4 <= len(notes) <= 6  # each 10 s
    with pytest.raises(NoahError, match="cannot be reached"):
        saving.save()


def test_what_was_worked_on_last_stays_and_other_sweeps_see_none_of_it(tmp_path: Path) -> None:
    (cell,) = plan_cells(["digits"], ["linear"], [0])
    folders = FolderStore(str(tmp_path / "store"), prefix="1-")
    others = dataclasses.replace(folders, prefix="2-")

    def work(place: str, text: str, seconds: int) -> Path:
        run = tmp_path / place / "digits" / cell.file_name
        run.mkdir(parents=True, exist_ok=True)
        (run / "run.yaml").write_text(text)
        os.utime(run / "run.yaml", (seconds, seconds))
        return run

    def spread(place: str) -> str:
        with _stored(SeenStore(folders, f"seen-{place}"), [cell], {}, tmp_path / place, Silent()):
            assert others.names() == ()
        assert folders.names() == ()
        return (tmp_path / place / "digits" / cell.file_name / "run.yaml").read_text()

    work("elsewhere", "stored", 1000)
    for seconds, stays in ((2000, "local"), (500, "stored")):
        folders.put(tmp_path / "elsewhere", cell.file_name)
        work("runs", "local", seconds)
        assert spread("runs") == stays


def test_a_store_that_fails_at_the_end_leaves_what_it_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (cell,) = plan_cells(["digits"], ["linear"], [0])
    folders = FolderStore(str(tmp_path / "store"))
    (tmp_path / "elsewhere" / "digits" / cell.file_name).mkdir(parents=True)
    (tmp_path / "elsewhere" / "digits" / cell.file_name / "run.yaml").write_text("")
    recorder = Recorder()

    def fail(*_: object) -> bool:
        raise NoahError("It cannot be reached.")

    with _stored(SeenStore(folders, "seen"), [cell], {}, tmp_path / "runs", recorder):
        folders.put(tmp_path / "elsewhere", cell.file_name)
        monkeypatch.setattr(FolderStore, "get", fail)
    assert folders.names() == (cell.file_name,)
    assert [line for line in recorder.said if "Runs are left in" in line]


def test_a_machine_that_does_not_see_the_storage_ends_the_sweep_instead_of_failing_each_cell(
    sweep: SweepSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = plan_cells(["digits"], ["linear", "bias"], [0])
    store = SeenStore(FolderStore(str(tmp_path / "store")), "seen")

    def run_all(_: object, tasks: Sequence[Task[Row]], *__: object, **___: object) -> Iterator[Outcome[Row]]:
        for task in tasks:
            try:
                yield Outcome(task.name, task.work(Silent()))
            except UsageError as error:
                yield Outcome(task.name, error=error, account="as told by the machine")

    monkeypatch.setattr("noah.benchmark.cluster_sweep.run_tasks", run_all)
    tasks = _tasks(sweep, cells, store, Resources())
    with pytest.raises(StorageNotSeenError):
        _collect(described({}), sweep, tasks, tmp_path, Silent(), store, lambda: None, lambda _: None)
    assert not list(tmp_path.rglob("*.json"))  # no cell is told as failed


def test_a_folder_of_another_sweep_is_refused_before_ray_starts(
    sweep: SweepSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = plan_cells(["digits"], ["linear"], [0])
    automatic = Layer(source="--set", values={"hardware": {"precision": "auto"}})
    asked, sweep = sweep, dataclasses.replace(sweep, changes=(*sweep.changes, automatic))
    begin_sweep(sweep, cells, tmp_path / "out", Silent(), precision="bf16")  # as by machines with GPUs
    assert check_same_sweep(sweep, tmp_path / "out") == "bf16"
    assert run_sweep_on_cluster(sweep, [], tmp_path / "out", Silent(), Spread("local")) == []
    monkeypatch.setattr("noah.benchmark.cluster_sweep.connect", None)
    other = dataclasses.replace(
        sweep, changes=(*sweep.changes, Layer(source="--set", values={"retrain": {"epochs": 77}}))
    )
    assert sweep_digest(other) != sweep_digest(sweep)
    with pytest.raises(SettingsError, match=r"retrain\.epochs: .* not 77"):
        run_sweep_on_cluster(other, cells, tmp_path / "out", Silent(), Spread("local"))
    with pytest.raises(SettingsError, match=r"precision: .* has 'bf16', not 'fp32'"):
        run_sweep_on_cluster(asked, cells, tmp_path / "out", Silent(), Spread("local"))


@pytest.mark.parametrize("where", ["folder", pytest.param("s3", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["linear", pytest.param("noah", marks=pytest.mark.slow)])
def test_a_cell_goes_on_elsewhere_from_what_is_stored(
    sweep: SweepSettings,
    tmp_path: Path,
    where: str,
    method: str,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("noah.benchmark.cluster_sweep._SHARE", float("inf"))  # every step is stored
    folders = FolderStore(
        str(tmp_path / "store") if where == "folder" else f"{request.getfixturevalue('bucket')}/{tmp_path.name}"
    )
    (cell,) = plan_cells(["digits"], [method], [0])
    store = SeenStore(folders, "seen-1")
    with pytest.raises(StorageNotSeenError, match="does not see what the driver stored"):
        run_stored_cell(sweep, cell, store, Silent())
    (tmp_path / "empty").mkdir()
    folders.put(tmp_path / "empty", "seen-1")
    title = "training the subnet" if method == "linear" else "training the supernet"
    stop = Recorder({title: 1})
    with pytest.raises(KeyboardInterrupt):
        run_stored_cell(sweep, cell, store, _Late(stop))
    again = Recorder()
    row = run_stored_cell(sweep, cell, store, again)
    assert row.details["resumed"] is True
    assert again.bars[title][0] == 1  # not from the beginning
    assert "resume    from what is stored" in again.said
    undisturbed = run_cell(sweep, cell, tmp_path / "runs", Silent())
    assert (row.correct, row.details["subnet"]) == (undisturbed.correct, undisturbed.details["subnet"])

    last = Recorder()
    assert run_stored_cell(sweep, cell, store, last).correct == row.correct
    assert last.bars == {}  # whose driver died before it heard of the row: nothing is computed again


class _Late(Recorder):
    """Interrupts at the first report after the one that stops, when what was done up to there is stored."""

    def __init__(self, inner: Recorder) -> None:
        super().__init__()
        self.stop = inner.stop_at
        self.due = False

    def update(self, done: float, text: str = "", detail: Any = None) -> None:
        if self.due:
            raise KeyboardInterrupt
        self.due = done >= self.stop.get(self._title, float("inf"))


def test_settings_are_refused_before_anything_starts(sweep: SweepSettings, tmp_path: Path) -> None:
    cells = plan_cells(["digits"], ["linear"], [0])
    with pytest.raises(UsageError, match="--ray nowhere: not a place"):
        run_sweep_on_cluster(sweep, cells, tmp_path / "out", Silent(), Spread("nowhere"))
    wrong = dataclasses.replace(sweep, changes=(Layer(source="--set", values={"retrain": {"epoch": 3}}),))
    with pytest.raises(UsageError, match=r"retrain\.epochs"):
        run_sweep_on_cluster(wrong, cells, tmp_path / "new", Silent(), Spread("local"))
    assert not (tmp_path / "new").exists()
    with pytest.raises(UsageError, match="appears whole or not at all"):
        run_sweep_on_cluster(sweep, cells, tmp_path / "new", Silent(), Spread("local", "ftp://host/x"))


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_machines_vanish_and_join_and_the_rows_are_those_of_one_process(
    sweep: SweepSettings, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    methods = ["noah", "lora:2", "bias", "linear"]
    cells = plan_cells(["digits", "rendered_dsprites_loc", SHIFT], methods, [0, 1])
    assert len(cells) == 24
    spread_over_vanishing_machines(sweep, cells, tmp_path, count=3, losses=(3, 8))
    assert "raylet" not in "".join(capfd.readouterr())


def spread_over_vanishing_machines(
    sweep: SweepSettings, cells: Sequence[Cell], place: Path, *, count: int, losses: Sequence[int]
) -> None:
    """Take a machine away that is at work, after so many rows each time, and add one after the last of them.

    Args:
        sweep: The settings.
        cells: What to run.
        place: A folder.
        count: How many machines there are at first.
        losses: How many rows there are when the next one vanishes.
    """
    folder, recorder = place / "spread", Recorder()
    finished: list[int] = []
    lost: list[str] = []
    with machines(count) as nodes:

        def change() -> None:
            finished.append(len(read_rows(folder)))
            if len(lost) < len(losses) and len(finished) >= losses[len(lost)]:
                busy = [node for node in nodes.list_all_nodes() if node.node_id[:6] in at_work(recorder.said, lost)]
                if busy:
                    lost.append(busy[0].node_id[:6])
                    nodes.remove_node(busy[0], allow_graceful=False)
                    if len(lost) == len(losses):
                        nodes.add_node(**MACHINE)

        spread = Spread(nodes.address, str(place / "storage"))
        assert run_sweep_on_cluster(sweep, cells, folder, recorder, spread, change) == []
        assert finished == list(range(1, len(cells) + 1))
        again = Recorder()
        assert run_sweep_on_cluster(sweep, cells, folder, again, spread) == []
        assert again.said == []  # nothing was left to do, so Ray did not even start
    assert len(lost) == len(losses)

    assert run_sweep(sweep, cells, place / "single", Silent()) == []
    assert stable(folder) == stable(place / "single")
    retried = [line for line in recorder.said if line.startswith("retry")]
    assert retried and all("is gone, so it is started again" in line for line in retried)
    assert any(f"({name})" in line for name in lost for line in retried)
    single = {run.name: stages_that_ended(run) for run in (place / "single").glob("runs/*/*/")}
    spread_out = {run.name: stages_that_ended(run) for run in folder.glob("runs/*/*/")}
    assert spread_out.keys() == single.keys() != set()
    for name, stages in spread_out.items():
        # No stage was done again once its end was stored; what was told of it may have died with its machine.
        assert len(stages) == len(set(stages))
        assert [stage for stage in single[name] if stage in stages] == stages
        assert stages[-1] == single[name][-1]
    assert list((place / "storage").iterdir()) == []
    trained = {cell.trained_by(SUITE.sources).task for cell in cells}
    assert json.loads((folder / FORECAST_FILE).read_text())["tasks"].keys() == trained


def at_work(said: Sequence[str], lost: Sequence[str]) -> set[str]:
    """The first letters of Ray's names for the machines on which a cell has started and not ended, by the console."""
    cells = {
        match[1]: match[2] for line in said if (match := re.fullmatch(r"start +(.+): on .+ \(([0-9a-f]{6})\)", line))
    }
    rows = {match[1] for line in said if (match := re.match(r"row +(.+?): ", line))}
    return {machine for cell, machine in cells.items() if cell not in rows} - set(lost)


def stages_that_ended(run: Path) -> list[tuple[str, str | None]]:
    """In the order in which they ended; a test on a shift with its name."""
    events = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(each["stage"], each.get("on")) for each in events if each["event"] == "finished"]


def packed(path: Path) -> list[str]:
    with tarfile.open(path) as archive:
        return archive.getnames()


@pytest.mark.long
@pytest.mark.timeout(600)
def test_ctrl_c_leaves_nothing_running_and_the_work_goes_on(tiny_settings: TinySettings, tmp_path: Path) -> None:
    """As typed in a terminal, where Ctrl-C reaches every process of the group."""
    settings = tiny_settings({"retrain.batch_size": 100, "retrain.epochs": 4000})
    del settings["data"]
    write_settings(tmp_path, settings)
    line = shlex.split("benchmark pocket --ray --tasks digits --methods linear --seeds 0,1 --part accuracy")
    command = subprocess.Popen(
        [sys.executable, "-m", "noah_cli", *line],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    storage = tmp_path / "benchmarks" / "pocket" / "storage"
    while not any("checkpoint.safetensors" in " ".join(packed(path)) for path in storage.glob("*-digits-*.tar")):
        assert command.poll() is None, command.communicate()
        time.sleep(0.2)
    started = psutil.Process(command.pid).children(recursive=True)
    assert any("raylet" in process.name() for process in started)
    os.killpg(command.pid, signal.SIGINT)
    _, err = command.communicate(timeout=120)
    assert command.returncode == 130
    assert err.strip() == "Interrupted. Go on with: the same command; finished work is not repeated"
    _, alive = psutil.wait_procs(started, timeout=30)
    assert alive == []
    runs = list((tmp_path / "benchmarks" / "pocket" / "runs").glob("digits/*/retrain/checkpoint.safetensors"))
    assert runs and not list(storage.iterdir())
    assert yaml.safe_load((tmp_path / "benchmarks" / "pocket" / "sweep.yaml").read_text())["precision"] == "fp32"
