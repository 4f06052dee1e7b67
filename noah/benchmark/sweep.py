"""Goes through the cells of a sweep: each is a run of its own, and what is finished is never done again."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from noah.atomic import write_text
from noah.benchmark.cells import SEARCHED, Cell
from noah.benchmark.rows import Row, row_path, write_failure, write_row
from noah.benchmark.suites import Suite, Task
from noah.errors import DataError, DatasetNotFoundError, DownloadError, NoahError, RunBusyError, RunError, SettingsError
from noah.layers import Layer, flatten, nested, resolve
from noah.materials import check_same_data, prepare
from noah.progress import Listener
from noah.runs import RUN_FILE, Run, installed_versions
from noah.settings import Settings
from noah.stages import evaluate_test, retrain, search
from noah.start import start_run

SWEEP_FILE = "sweep.yaml"
RUNS_FOLDER = "runs"

_MAY_DIFFER = ("seed", "data.dataset", "data.root", "hardware.device", "hardware.threads")
"""Settings that differ from cell to cell or from machine to machine without making rows incomparable."""


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that gave no row, and why in a few words."""

    cell: Cell
    problem: str


def run_sweep(
    suite: Suite,
    cells: Sequence[Cell],
    layers: Sequence[Layer],
    folder: Path,
    listener: Listener,
    finished: Callable[[], object] = lambda: None,
) -> list[Failure]:
    """Do every cell that has no row yet; a cell that fails does not stop the others.

    Args:
        suite: Where the cells' tasks are described.
        cells: What to do, in this order.
        layers: Settings over the defaults: the recipe, files, options.
        folder: Gets `sweep.yaml`, `rows/` and `runs/`.
        listener: Told what happens.
        finished: Called after each new row.

    Returns:
        The cells that failed. Those of a task whose data cannot be loaded fail at once, for the same reason. Cells that
        another process is working on are left to it, and are no failures.

    Raises:
        SettingsError: The settings are wrong, or not those that the folder's rows were made with.
    """
    check_same_settings(suite, layers, folder)
    failures: list[Failure] = []
    without_data: dict[str, str] = {}
    for number, cell in enumerate(cells, start=1):
        if row_path(folder, cell).exists():
            continue
        if cell.task in without_data:
            failures.append(Failure(cell, without_data[cell.task]))
            continue
        listener.say(f"cell      {number} of {len(cells)}: {cell}")
        try:
            row = run_cell(suite, cell, layers, folder / RUNS_FOLDER, listener)
        except RunBusyError:
            listener.say("          Another process is working on it: it is left to that one.")
            continue
        except Exception as error:  # whatever it is, the other cells go on; the whole account is kept
            problem = error.problem if isinstance(error, NoahError) else f"{type(error).__name__}: {error}"
            if isinstance(error, DatasetNotFoundError | DataError | DownloadError):
                without_data[cell.task] = problem
            failures.append(Failure(cell, problem))
            write_failure(folder, cell, "".join(traceback.format_exception(error)))
            listener.say(f"failed    {problem}")
            continue
        write_row(folder, row)
        listener.say(f"row       {cell}: {row.accuracy:.2%} of {row.total:,} test images")
        finished()
    return failures


def run_cell(suite: Suite, cell: Cell, layers: Sequence[Layer], runs: Path, listener: Listener) -> Row:
    """Search or take the subnet, retrain it and test it; goes on with what a run of this cell already holds.

    Args:
        suite: Where the cell's task is described.
        cell: What to do.
        layers: Settings over the defaults.
        runs: The folder of the sweep's runs.
        listener: Told what happens.

    Raises:
        RunBusyError: Another process is working on this cell.
        NoahError: Whatever else goes wrong.
    """
    settings, origins = resolve([*layers, *cell_layers(suite, cell)])
    existing = sorted(runs.glob(f"*/{cell.file_name}/{RUN_FILE}"))
    if existing:
        run = Run(existing[0].parent)
        stored = run.settings()
        _check_equal(stored, settings, f"the run {run.folder}", "Remove that folder to begin this cell anew.")
        materials = prepare(stored, listener)
        check_same_data(run, materials)
    else:
        run, materials = start_run(runs, settings, origins, listener, name=cell.file_name, subnet=cell.subnet)
    seconds: dict[str, float] = {}
    with run.lock():
        for stage, work, result in (
            ("search", search, ("search", "best.json")),
            ("retrain", retrain, ("retrain", "model.json")),
            ("test", evaluate_test, ("eval", "test.json")),
        ):
            if run.path(*result).is_file() or (stage == "search" and cell.method != SEARCHED):
                continue
            started = time.monotonic()
            work(run, materials, listener)
            seconds[stage] = round(time.monotonic() - started, 1)
        test, model = run.read_json("eval", "test.json"), run.read_json("retrain", "model.json")
    details = {
        "subnet": model["subnet"],
        "training_images": model["images"],
        "hardware": model["hardware"],
        "seconds": seconds,
        "resumed": bool(existing),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": installed_versions(),
    }
    return Row(cell, test["correct"], test["total"], model["parameters"], details)


def cell_layers(suite: Suite, cell: Cell) -> list[Layer]:
    """The settings that make a cell: its task with what the suite sets for it, and its seed."""
    task = next(task for task in suite.tasks if task.name == cell.task)
    return [*_task_layers(suite, task), Layer(source="--seeds", values={"seed": cell.seed})]


def check_same_settings(suite: Suite, layers: Sequence[Layer], folder: Path) -> None:
    """Write the settings of a new sweep, or refuse to mix rows of different settings in one folder.

    Raises:
        SettingsError: The settings are wrong, or not those of the sweep that the folder holds.
        RunError: The folder's settings cannot be read.
    """
    settings, _ = resolve(layers)
    for task in suite.tasks:
        resolve([*layers, *_task_layers(suite, task)])
    path = folder / SWEEP_FILE
    values = {"suite": suite.name, "settings": settings.model_dump(mode="json")}
    if not path.exists():
        write_text(path, yaml.safe_dump(values, sort_keys=False, width=120))
        return
    try:
        stored = yaml.safe_load(path.read_text(encoding="utf-8"))
        other = stored["suite"]
        before, _ = resolve([Layer(source=str(path), values=stored["settings"])])
    except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"{path} holds no settings of a sweep.", "Choose another folder with --out.") from error
    if other != suite.name:
        raise SettingsError([f"{folder} holds rows of the suite {other}"], "Choose another folder with --out.")
    _check_equal(
        before, settings, f"the sweep in {folder}", "Leave the change out, or choose another folder with --out."
    )


def _task_layers(suite: Suite, task: Task) -> list[Layer]:
    chosen: Iterable[tuple[str, Any]] = [("data.dataset", task.name), *task.settings.items()]
    return [Layer(source=f"suite {suite.name}", values=nested(key, value)) for key, value in chosen]


def _check_equal(before: Settings, now: Settings, what: str, hint: str) -> None:
    stored, asked = (dict(flatten(settings.model_dump(mode="json"))) for settings in (before, now))
    problems = [
        f"{key}: {what} has {stored[key]!r}, not {asked[key]!r}"
        for key in asked
        if stored.get(key) != asked[key] and key not in _MAY_DIFFER
    ]
    if problems:
        raise SettingsError(problems, hint)
