"""Runs the cells of a sweep: each is a run of its own, or a test of another's, and finished work is never repeated."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from noah.benchmark.cells import SEARCHED, Cell
from noah.benchmark.rows import Row, row_path, write_failure, write_row
from noah.benchmark.sweep_settings import SweepSettings, begin_sweep, check_unchanged, machine_layers
from noah.data.sources.drawn.shifts import SHIFTS
from noah.data.sources.imagenet_labeled import foreign_dataset
from noah.errors import DataError, DatasetNotFoundError, NoahError, RunBusyError
from noah.files.lock import exclusive
from noah.prepare.context import Materials, check_same_data, prepare
from noah.prepare.new_run import start_run
from noah.progress import Listener
from noah.runs.folder import RUN_FILE, Run, installed_versions
from noah.stages.foreign_evaluation import evaluate_foreign
from noah.stages.retrain_stage import evaluate_test, retrain
from noah.stages.search_stage import search

RUNS_FOLDER = "runs"


@dataclass(frozen=True, slots=True)
class Failure:
    """A cell that has no row because it failed, and why."""

    cell: Cell
    problem: str
    hint: str = ""


def run_sweep(
    sweep: SweepSettings,
    cells: Sequence[Cell],
    folder: Path,
    listener: Listener,
    finished: Callable[[], object] = lambda: None,
) -> list[Failure]:
    """Run every cell that has no row yet; a cell that fails does not stop the others.

    Args:
        sweep: Gives the settings of each cell.
        cells: The cells to run, in this order.
        folder: The folder that gets `sweep.yaml`, `rows/` and `runs/`.
        listener: Receives the progress.
        finished: Called after each new row.

    Returns:
        The cells that failed. If the data of a task cannot be loaded, its other cells fail at once for the same reason,
        and so does a cell that tests a subnet whose training failed. Cells that another process is working on are left
        to it, and do not count as failures.

    Raises:
        SettingsError: If the settings are wrong, or not those that the folder's rows were made with.
    """
    begin_sweep(sweep, cells, folder, listener)
    failures: list[Failure] = []
    without_data: dict[str, Failure] = {}
    failed: dict[Cell, Failure] = {}
    for number, cell in enumerate(cells, start=1):
        if row_path(folder, cell).exists():
            continue
        trained = cell.trained_by(sweep.suite.sources)
        first = without_data.get(cell.task) or without_data.get(trained.task) or failed.get(trained)
        if first is not None:
            failures.append(Failure(cell, first.problem, first.hint))
            write_failure(folder, cell, f"{first.problem}\n{first.hint}")
            continue
        listener.say(f"cell      {number} of {len(cells)}: {cell}")
        try:
            with ExitStack() as claims:
                for each in dict.fromkeys((cell, trained)):
                    claims.enter_context(claimed(each, folder))
                if row_path(folder, cell).exists():
                    continue  # another process finished it in the meantime
                row = run_cell(sweep, cell, folder / RUNS_FOLDER, listener)
                write_row(folder, row)
        except RunBusyError:
            listener.say("          Another process is working on it, so it is left to that process.")
            continue
        except Exception as error:  # whatever went wrong, the other cells go on; the traceback is kept
            failures.append(keep_failure(folder, cell, error, "".join(traceback.format_exception(error))))
            failed[cell] = failures[-1]
            if isinstance(error, DatasetNotFoundError | DataError):
                without_data[cell.task] = failures[-1]
            listener.say(f"failed    {cell}: {failures[-1].problem}")
            continue
        listener.say(f"row       {cell}: {row.accuracy:.2%} of {row.total:,} test images")
        finished()
    return failures


def keep_failure(folder: Path, cell: Cell, error: Exception, account: str) -> Failure:
    """Write why a cell failed, and give it.

    Args:
        folder: The folder of the sweep.
        cell: The cell.
        error: What went wrong.
        account: Its traceback; empty if it is that of another cell.
    """
    failure = Failure(cell, f"{type(error).__name__}: {error}")
    if isinstance(error, NoahError):
        failure = Failure(cell, error.problem, error.hint)
    write_failure(folder, cell, account or f"{failure.problem}\n{failure.hint}")
    return failure


def run_cell(sweep: SweepSettings, cell: Cell, runs: Path, listener: Listener, *, alone: bool = False) -> Row:
    """Search the subnet or take the given one, retrain it and test it; an existing run of this cell is resumed.

    If the cell's task has a source, the run is that of the source's cell, and it is tested on the images of this one.

    Args:
        sweep: Gives the settings of the cell.
        cell: The cell to run.
        runs: The folder of the sweep's runs.
        listener: Receives the progress.
        alone: Whether the runs are this process's alone, so that whoever worked on them before is dead.

    Raises:
        NoahError: If anything goes wrong.
    """
    trained = cell.trained_by(sweep.suite.sources)
    run, materials, resumed = _open_run(sweep, trained, runs, listener)
    if cell != trained:
        if not resumed:
            listener.say(f"train     the subnet of {trained}, because its run is not in {runs}")
        resumed = resumed and not run.path("eval", "test.json").is_file()
    seconds: dict[str, float] = {}
    with run.lock():
        for stage, work, result in (
            ("search", partial(search, alone=alone), ("search", "best.json")),
            ("retrain", retrain, ("retrain", "model.json")),
            ("test", evaluate_test, ("eval", "test.json")),
        ):
            if run.path(*result).is_file() or (stage == "search" and cell.method != SEARCHED):
                continue
            started = time.monotonic()
            work(run, materials, listener)
            seconds[stage] = round(time.monotonic() - started, 1)
        tested: tuple[str, ...] = ("eval", "test.json")
        if cell != trained:
            tested = ("eval", "on", f"{cell.task}.json")
            if not run.path(*tested).is_file():
                started = time.monotonic()
                shift = next(shift for shift in SHIFTS if shift.name == cell.task)
                evaluate_foreign(run, materials, foreign_dataset(shift.load(), materials.dataset.classes), listener)
                seconds["shift"] = round(time.monotonic() - started, 1)
        test, model = run.read_json(*tested), run.read_json("retrain", "model.json")
    details = {
        **({} if cell == trained else {"trained_on": trained.task}),
        "subnet": model["subnet"],
        "training_images": model["images"],
        "hardware": model["hardware"],
        "seconds": seconds,
        "resumed": resumed,
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": installed_versions(),
    }
    return Row(cell, test["correct"], test["total"], model["parameters"], details)


def _open_run(sweep: SweepSettings, cell: Cell, runs: Path, listener: Listener) -> tuple[Run, Materials, bool]:
    """Open the run of a cell that trains, or start it, and say whether it was there already."""
    settings, origins = sweep.of_cell(cell)
    existing = sorted(runs.glob(f"*/{cell.file_name}/{RUN_FILE}"))
    if not existing:
        return (*start_run(runs, settings, origins, listener, name=cell.file_name, subnet=cell.subnet), False)
    run = Run(existing[0].parent)
    check_unchanged(run, settings, origins)
    materials = prepare(run.settings(machine_layers(settings)), listener, run=run)
    check_same_data(run, materials)
    return run, materials, True


@contextmanager
def claimed(cell: Cell, folder: Path) -> Iterator[None]:
    """Keep other processes away from this cell, even from starting it, until the `with` block or this process ends.

    Raises:
        RunBusyError: If another process has claimed it.
    """
    place = folder / RUNS_FOLDER / f".{cell.file_name}.lock"
    place.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(place, str(cell)):
        yield
