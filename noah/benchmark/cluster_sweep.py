"""A sweep on several machines: each cell is a task, longest first, and goes on elsewhere when its machine dies.

The driver alone writes rows. A cell works in a folder of its own machine, and stores it whole at a place that all
machines see whenever an epoch is over; whoever takes the cell up goes on from what is stored. At the end of a cell its
run is laid into the sweep's folder, so that this looks as after a sweep of one machine.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from noah.benchmark.cells import SEARCHED, Cell
from noah.benchmark.rows import Row, row_path, write_row
from noah.benchmark.sweep import RUNS_FOLDER, Failure, claimed, keep_failure, run_cell
from noah.benchmark.sweep_settings import SweepSettings, begin_sweep, check_same_sweep, sweep_digest
from noah.cluster.reports import Report
from noah.cluster.resources import Resources, cores_beside_gpu, memory_for
from noah.cluster.session import Cluster, check_place, connect, load_ray
from noah.cluster.tasks import Task, run_tasks
from noah.errors import (
    DataError,
    DatasetNotFoundError,
    NoahError,
    RunBusyError,
    StorageNotSeenError,
    UsageError,
    inside_sentence,
    system_cause,
)
from noah.files.atomic import write_json
from noah.files.bounded import LARGEST_JSON, parse_json, read_bounded
from noah.files.folder_store import FolderStore
from noah.hardware.memory import gpu_memory
from noah.prepare.auto import adapt
from noah.prepare.context import prepare
from noah.prepare.forecast import forecast
from noah.prepare.run_budget import decide_budget
from noah.progress import Bar, Detail, Listener
from noah.runs.folder import RUN_FILE
from noah.settings.layers import Layer
from noah.settings.settings import HardwareSettings

STORAGE_FOLDER = "storage"
"""Where runs are stored meanwhile, in the folder of the sweep, unless `--storage` names another place."""
FORECAST_FILE = "forecast.json"
_SHARE = 0.05
"""The share of a cell's time that may go into storing it before it ends."""
_AGAIN = 10.0
"""Seconds at least until a run is stored again after that failed."""
_LOCKS = ("lock", "lock.owner", "asking.lock")


@dataclass(frozen=True, slots=True)
class Spread:
    """How a sweep is spread over machines.

    Attributes:
        where: Where Ray runs, as after `--ray` (`noah.cluster.session`).
        storage: A place that all machines see, as for `FolderStore`; None for a folder in the sweep's.
        gpus: GPUs for each cell, if there are any: 1, or a part of one that several cells share.
    """

    where: str
    storage: str | None = None
    gpus: float = 1.0


@dataclass(frozen=True, slots=True)
class SeenStore:
    """The storage, and what tells a machine whether it sees it.

    Attributes:
        folders: Where runs are stored.
        mark: A name that the driver stored there, which no other driver uses.
    """

    folders: FolderStore
    mark: str

    def check(self) -> None:
        """Look for the mark.

        Raises:
            StorageNotSeenError: If it is not there.
            NoahError: If the storage cannot be reached.
        """
        if self.mark not in self.folders.names():
            raise StorageNotSeenError(
                f"--storage {self.folders.place}: a machine does not see what the driver stored there.",
                "Name a place that all machines see, such as s3://BUCKET/FOLDER or a folder of a shared file system.",
            )


@dataclass(frozen=True, slots=True)
class TaskForecast:
    """What the cells of a task would take.

    Attributes:
        searched: Seconds of a cell that searches its subnet.
        trained: Seconds of a cell that trains a given one.
        memory: The peak of main memory in MiB; None if it is not known.
        gpu_memory: The peak of GPU memory in MiB; None without a GPU.
        gpu_total: The GPU's memory in MiB; None without one.
        precision: The precision that was chosen there.
    """

    searched: float
    trained: float
    memory: float | None
    gpu_memory: float | None
    gpu_total: float | None
    precision: str


def run_sweep_on_cluster(
    sweep: SweepSettings,
    cells: Sequence[Cell],
    folder: Path,
    listener: Listener,
    spread: Spread,
    finished: Callable[[], object] = lambda: None,
    more: Callable[[str], object] = lambda _: None,
) -> list[Failure]:
    """Run every cell that has no row yet, on all machines of a cluster; otherwise as `noah.benchmark.sweep.run_sweep`.

    Args:
        sweep: Gives the settings of each cell.
        cells: The cells to run.
        folder: The folder that gets `sweep.yaml`, `forecast.json`, `rows/` and `runs/`; the driver alone uses it.
        listener: Receives the progress.
        spread: Where to run them.
        finished: Called after each new row.
        more: Receives what the cells say, for people who want to read all of it.

    Returns:
        The cells that failed.

    Raises:
        SettingsError: If the settings are wrong, or not those that the folder's rows were made with.
        UsageError: If there is no such cluster, or the storage cannot be used.
        MissingPackageError: If Ray or the package of the storage is not installed.
    """
    before = check_same_sweep(sweep, folder)
    missing = [cell for cell in cells if not row_path(folder, cell).exists()]
    if not missing:
        begin_sweep(sweep, cells, folder, listener, precision=before)
        return []
    check_place(spread.where)
    load_ray()  # whether it is installed is told before anything is written
    place = FolderStore(spread.storage or str(folder / STORAGE_FOLDER), prefix=f"{sweep_digest(sweep)}-")
    place.check()
    store = SeenStore(place, f"seen-{uuid.uuid4().hex}")
    with connect(spread.where, listener) as cluster, ExitStack() as claims:
        mine = list(_claim(missing, sweep, folder, listener, claims))
        hardware = sweep.of_task(sweep.suite.tasks[0].name)[0].hardware
        first = cell_resources(cluster, hardware, spread.gpus, listener)
        fixed = replace(sweep, changes=(*sweep.changes, _machine_layer(hardware, first)))
        claims.enter_context(_stored(store, mine, sweep.suite.sources, folder / RUNS_FOLDER, listener))
        found = _forecasts(cluster, fixed, mine, folder, listener, store, first)
        resources, precision = settle(found, first, listener)
        precision = precision or before
        if precision is not None:
            layer = Layer(source="this cluster", values={"hardware": {"precision": precision}})
            fixed = replace(fixed, changes=(*fixed.changes, layer))
        begin_sweep(fixed, cells, folder, listener, precision=precision)
        tasks = _tasks(fixed, order_cells(mine, sweep.suite.sources, found), store, resources)
        return _collect(cluster, sweep, tasks, folder, listener, store, finished, more)


def order_cells(
    cells: Sequence[Cell], sources: Mapping[str, str], forecasts: Mapping[str, TaskForecast]
) -> tuple[Cell, ...]:
    """Put the cells that take longest first; those that test another cell's subnet follow it, in their order.

    What the longest cells leave to the end keeps few machines waiting. A cell of which nothing is known counts as
    longest, so that a task which cannot run is told of early.

    Args:
        cells: The cells, in any order.
        sources: Task -> the task whose subnets it tests.
        forecasts: By the name of a task that is trained on.
    """

    def seconds(cell: Cell) -> float:
        known = forecasts.get(cell.task)
        if known is None:
            return math.inf
        return known.searched if cell.method == SEARCHED else known.trained

    trained = dict.fromkeys(cell.trained_by(sources) for cell in cells)
    places = {cell: place for place, cell in enumerate(sorted(trained, key=seconds, reverse=True))}
    return tuple(sorted(cells, key=lambda cell: (places[cell.trained_by(sources)], cell.task in sources)))


def _claim(
    missing: Sequence[Cell], sweep: SweepSettings, folder: Path, listener: Listener, claims: ExitStack
) -> Iterator[Cell]:
    """Keep other sweeps in this folder away from the cells, and give those that nobody else works on."""
    held: set[Cell] = set()
    for cell in missing:
        try:
            for each in dict.fromkeys((cell, cell.trained_by(sweep.suite.sources))):
                if each not in held:
                    claims.enter_context(claimed(each, folder))
                    held.add(each)
        except RunBusyError:
            listener.say(f"note      {cell}: another process is working on it, so it is left to that process.")
            continue
        if not row_path(folder, cell).exists():  # or another process finished it in the meantime
            yield cell


def cell_resources(cluster: Cluster, asked: HardwareSettings, gpus: float, listener: Listener) -> Resources:
    """The cores and GPUs of a cell.

    Args:
        cluster: The machines that there are.
        asked: The settings of the hardware; "auto" means a GPU wherever the cluster has any.
        gpus: How much of a GPU each cell gets, if it gets one.
        listener: Told how many threads a cell gets if nobody asked for a number.

    Raises:
        UsageError: If a GPU is asked for, and no machine has one.
    """
    machines = [machine.resources for machine in cluster.machines()]
    on_gpu = any(machine.get("GPU") for machine in machines)
    if asked.device == "cuda" and not on_gpu:
        raise UsageError("--device cuda: no machine of the cluster has a GPU that Ray knows of.", "Try --device cpu.")
    if asked.device not in ("auto", "cuda") or not on_gpu:
        gpus = 0.0
    if asked.threads:
        return Resources(asked.threads, gpus)
    if not gpus:
        listener.say("threads   1 for each cell, because cells run side by side; --threads chooses another number")
        return Resources(1, 0)
    threads = cores_beside_gpu(machines, gpus)
    listener.say(
        f"threads   {threads} for each cell, its share of a machine's cores beside its GPU; --threads changes it"
    )
    return Resources(threads, gpus)


def _machine_layer(asked: HardwareSettings, resources: Resources) -> Layer:
    """What every cell is to be computed with, whatever machine it comes to."""
    values: dict[str, Any] = {"threads": int(resources.cpus)}
    if asked.device == "auto":
        values["device"] = "cuda" if resources.gpus else "cpu"
    return Layer(source="this cluster", values={"hardware": values})


def _forecasts(
    cluster: Cluster,
    sweep: SweepSettings,
    cells: Sequence[Cell],
    folder: Path,
    listener: Listener,
    store: SeenStore,
    resources: Resources,
) -> dict[str, TaskForecast]:
    """Forecast each task that is trained on, on the machines themselves; what an earlier sweep found out is kept."""
    names = tuple(dict.fromkeys(cell.trained_by(sweep.suite.sources).task for cell in cells))
    where = {"cpus": resources.cpus, "gpus": resources.gpus}
    found = _read_forecasts(folder, where)
    missing = [Task(name, partial(forecast_task, sweep, name, store), resources) for name in names if name not in found]
    if missing:
        with closing(run_tasks(cluster, missing, listener, title="forecasting", unit="datasets")) as outcomes:
            for outcome in outcomes:
                if outcome.value is not None:
                    found[outcome.name] = outcome.value
                elif isinstance(outcome.error, StorageNotSeenError):
                    raise outcome.error
                else:
                    problem = outcome.error.problem if isinstance(outcome.error, NoahError) else outcome.error
                    listener.say(f"note      {outcome.name} could not be forecast, so it comes first: {problem}")
        values = {name: asdict(value) for name, value in sorted(found.items())}
        write_json(folder / FORECAST_FILE, {**where, "tasks": values})
    return {name: found[name] for name in names if name in found}


def _read_forecasts(folder: Path, where: Mapping[str, float]) -> dict[str, TaskForecast]:
    """What an earlier sweep in this folder found out with the same resources; nothing if it cannot be read."""
    try:
        stored = parse_json(read_bounded(folder / FORECAST_FILE, LARGEST_JSON))
        if {name: stored[name] for name in where} != where:
            return {}
        return {name: TaskForecast(**value) for name, value in stored["tasks"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}


def forecast_task(sweep: SweepSettings, name: str, store: SeenStore, listener: Listener) -> TaskForecast:
    """Time a few steps of each stage on this machine, and say what the cells of a task would take.

    Raises:
        NoahError: If anything is wrong with the settings, the data or the backbone.
        StorageNotSeenError: If this machine does not see the storage.
    """
    store.check()
    settings, origins = sweep.of_task(name)
    materials, _ = adapt(prepare(settings, listener), origins, listener, time_limit=None)
    budget, _ = decide_budget(materials, listener)
    made = forecast(materials, budget, listener)
    retrained = made.retrain.seconds if made.retrain else 0.0
    on_gpu = materials.hardware.device.type == "cuda"
    stages = [stage.memory for stage in (made.supernet, made.search, made.retrain) if stage and stage.memory]
    return TaskForecast(
        searched=made.seconds,
        trained=retrained,
        memory=made.process_memory,
        gpu_memory=max(stages, default=None) if on_gpu else None,
        gpu_total=gpu_memory() if on_gpu else None,
        precision=made.precision,
    )


def settle(found: Mapping[str, TaskForecast], first: Resources, listener: Listener) -> tuple[Resources, str | None]:
    """What all cells ask for, which is what the largest needs, and their precision; None if nothing is known of it.

    Raises:
        UsageError: If the largest cell does not fit into its part of a GPU.
    """
    if not found:
        return first, None
    memory = max(memory_for(each.memory) for each in found.values())
    for name, each in found.items():
        if each.gpu_memory and each.gpu_total and first.gpus < 1 and each.gpu_memory > first.gpus * each.gpu_total:
            raise UsageError(
                f"--gpus {first.gpus:g}: a cell of {name} takes {each.gpu_memory:,.0f} MiB of GPU memory, more than "
                f"that part of {each.gpu_total:,.0f} MiB.",
                f"Give each at least --gpus {math.ceil(100 * each.gpu_memory / each.gpu_total) / 100:g}.",
            )
    resources = replace(first, memory=memory)
    listener.say(f"cells     each asks for {resources}, by the forecast")
    precisions = {each.precision for each in found.values()}
    return resources, "fp32" if len(precisions) > 1 else precisions.pop()


def _tasks(
    sweep: SweepSettings, cells: Sequence[Cell], store: SeenStore, resources: Resources
) -> dict[str, tuple[Cell, Task[Row]]]:
    """A task for each cell by its name; of those that share a run each starts when the one before it is over."""
    latest: dict[Cell, str] = {}
    tasks: dict[str, tuple[Cell, Task[Row]]] = {}
    for cell in cells:
        trained = cell.trained_by(sweep.suite.sources)
        work = partial(run_stored_cell, sweep, cell, store)
        tasks[str(cell)] = (cell, Task(str(cell), work, resources, after=latest.get(trained)))
        latest[trained] = str(cell)
    return tasks


def run_stored_cell(sweep: SweepSettings, cell: Cell, store: SeenStore, listener: Listener) -> Row:
    """Run a cell in a folder of this machine, from what is stored of its run, and store what becomes of it.

    Raises:
        NoahError: If anything goes wrong.
        StorageNotSeenError: If this machine does not see the storage.
    """
    store.check()
    name = cell.trained_by(sweep.suite.sources).file_name
    with tempfile.TemporaryDirectory(prefix="noah-") as scratch:
        runs = Path(scratch)
        if store.folders.get(name, runs):
            listener.say("resume    from what is stored")
        saving = Saving(listener, lambda: store.folders.put(runs, name, keep=_belongs))
        row = run_cell(sweep, cell, runs, saving, alone=True)
        saving.save()
    return row


class Saving:
    """A listener that stores the run whenever an epoch or a candidate is over, but spends little time on it.

    Args:
        inner: Receives everything.
        store: Stores the run.
        clock: Gives seconds that never go backwards.
    """

    def __init__(
        self, inner: Listener, store: Callable[[], object], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._inner, self._store, self._clock = inner, store, clock
        self._next = float("-inf")

    def say(self, text: str) -> None:
        """Pass on a line."""
        self._inner.say(text)

    @contextmanager
    def bar(self, title: str, total: int, unit: str) -> Iterator[Bar]:
        """Pass on a bar."""
        with self._inner.bar(title, total, unit) as bar:
            yield _SavingBar(bar, self)

    def step(self) -> None:
        """Store the run, unless the last time took so long that it is too early; where that fails, work goes on."""
        if self._clock() < self._next:
            return
        begun = self._clock()
        try:
            self.save()
        except (NoahError, OSError) as error:
            self._next = self._clock() + max((self._clock() - begun) / _SHARE, _AGAIN)
            problem = error.problem if isinstance(error, NoahError) else f"{system_cause(error)}."
            self._inner.say(f"note      The run could not be stored, and is again soon: {inside_sentence(problem)}")

    def save(self) -> None:
        """Store the run.

        Raises:
            NoahError: If that is not possible.
        """
        begun = self._clock()
        self._store()
        self._next = self._clock() + (self._clock() - begun) / _SHARE


class _SavingBar:
    def __init__(self, inner: Bar, saving: Saving) -> None:
        self._inner, self._saving = inner, saving
        self._whole: int | None = None

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        self._inner.update(done, text, detail)
        if self._whole is None:
            self._whole = int(done)  # a resumed stage first reports what was done before
        elif int(done) > self._whole:
            self._whole = int(done)
            self._saving.step()


def _belongs(path: PurePosixPath) -> bool:
    """Whether a file belongs to a run as others need it: neither a lock nor half of a file."""
    return len(path.parts) > 2 and path.name not in _LOCKS and not path.name.startswith(".")


@contextmanager
def _stored(
    store: SeenStore, cells: Sequence[Cell], sources: Mapping[str, str], runs: Path, listener: Listener
) -> Iterator[None]:
    """Store the runs that there are of these cells for the block, and lay all of them into `runs` at its end.

    Of a run that is stored already, whichever was worked on last stays.
    """
    runs.mkdir(parents=True, exist_ok=True)
    folders = store.folders
    with tempfile.TemporaryDirectory() as empty:
        folders.put(Path(empty), store.mark)
    wanted = {cell.trained_by(sources).file_name for cell in cells}
    there = set(folders.names())
    for name in sorted(wanted):
        for run in sorted(runs.glob(f"*/{name}/{RUN_FILE}"))[:1]:
            if name not in there or _latest(run.parent) > _latest_stored(folders, name):
                folders.put(runs, name, keep=_belongs, only=run.parent.relative_to(runs))
    try:
        yield
    finally:
        try:
            for name in sorted(wanted & set(folders.names())):
                _bring(folders, name, runs, listener)
            folders.remove(store.mark)
        except NoahError as error:
            _tell_left(folders, error, listener)


def _latest(folder: Path) -> float:
    """When a file that belongs to a run was last written to, below its folder or the one that it lies in."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in _LOCKS)
    return max((path.stat().st_mtime for path in files), default=0.0)


def _latest_stored(folders: FolderStore, name: str) -> float:
    with tempfile.TemporaryDirectory(prefix="noah-") as scratch:
        return _latest(Path(scratch)) if folders.get(name, Path(scratch)) else 0.0


def _bring(folders: FolderStore, name: str, runs: Path, listener: Listener) -> None:
    """Move a run from the storage into `runs`, in place of what was there; where that fails, it stays for later."""
    try:
        with tempfile.TemporaryDirectory(prefix=".", dir=runs) as scratch:
            if folders.get(name, Path(scratch)):
                for run in Path(scratch).glob(f"*/{name}"):
                    target = runs / run.parent.name / name
                    target.parent.mkdir(exist_ok=True)
                    shutil.rmtree(target, ignore_errors=True)
                    run.rename(target)
                folders.remove(name)
    except NoahError as error:
        _tell_left(folders, error, listener)


def _tell_left(folders: FolderStore, error: NoahError, listener: Listener) -> None:
    listener.say(f"note      Runs are left in {folders.place}, because {inside_sentence(error.problem)}")


def _collect(
    cluster: Cluster,
    sweep: SweepSettings,
    tasks: Mapping[str, tuple[Cell, Task[Row]]],
    folder: Path,
    listener: Listener,
    store: SeenStore,
    finished: Callable[[], object],
    more: Callable[[str], object],
) -> list[Failure]:
    """Run the tasks, and write each row and each failure as it comes."""
    sources = sweep.suite.sources
    left = dict.fromkeys((cell.trained_by(sources) for cell, _ in tasks.values()), 0)
    for cell, _ in tasks.values():
        left[cell.trained_by(sources)] += 1
    failures: dict[Cell, Failure] = {}
    without_data: dict[str, Failure] = {}

    def refused(task: Task[Row]) -> Exception | None:
        cell, _ = tasks[task.name]
        trained = cell.trained_by(sources)
        first = without_data.get(cell.task) or without_data.get(trained.task) or failures.get(trained)
        return None if first is None else NoahError(first.problem, first.hint)

    def told(report: Report) -> None:
        if report.done is None and report.text.startswith("start "):
            listener.say(f"start     {report}")
        elif report.done is None:
            more(f"          {report}")

    outcomes = run_tasks(
        cluster,
        [task for _, task in tasks.values()],
        listener,
        title="sweep",
        unit="cells",
        refused=refused,
        told=told,
    )
    with closing(outcomes):
        for outcome in outcomes:
            cell, _ = tasks[outcome.name]
            trained = cell.trained_by(sources)
            left[trained] -= 1
            if outcome.value is not None:
                write_row(folder, outcome.value)
                row = outcome.value
                listener.say(f"row       {cell}: {row.accuracy:.2%} of {row.total:,} test images, on {outcome.machine}")
                finished()
            elif isinstance(outcome.error, StorageNotSeenError):
                raise outcome.error
            elif outcome.error is not None:
                failures[cell] = keep_failure(folder, cell, outcome.error, outcome.account)
                if isinstance(outcome.error, DatasetNotFoundError | DataError):
                    without_data[cell.task] = failures[cell]
                if outcome.account:  # or it is refused for a reason that was told before
                    listener.say(f"failed    {cell}: {failures[cell].problem}")
            if not left[trained]:
                _bring(store.folders, trained.file_name, folder / RUNS_FOLDER, listener)
    return list(failures.values())
