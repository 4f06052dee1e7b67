"""Compares two processes on one search with one: candidates per minute, and whether anything was evaluated twice.

    python -m benchmarks.workers --dataset digits --seed 0

The search on a trained supernet is run by one process with one thread, by two, and by two of which one is killed
halfway. Times come from the search's own record, from the start of the first candidate to the end of the last one, so
that starting a process does not count.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from benchmarks.supernets import supernet_run
from noah.files.atomic import write_json
from noah.files.jsonl import read_lines
from noah.nas.storage import journal_storage
from noah.runs.folder import Run

GENERATIONS, POPULATION = 4, 40


def main() -> None:
    """Run the search three times and write the results."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, default=Path("runs/search"))
    parser.add_argument("--out", type=Path, default=Path("docs/search"))
    arguments = parser.parse_args()
    trained, _, _ = supernet_run(arguments.runs, arguments.dataset, arguments.seed)
    found = {
        "one": search(trained, workers=1),
        "two": search(trained, workers=2),
        "two, one killed": search(trained, workers=2, kill=True),
    }
    result = {
        "dataset": arguments.dataset,
        "seed": arguments.seed,
        "speed_up": found["two"]["candidates_a_minute"] / found["one"]["candidates_a_minute"],
        "same_winner": len({str(each["winner"]) for each in found.values()}) == 1,
        **found,
    }
    path = arguments.out / f"workers-{arguments.dataset}-seed{arguments.seed}.json"
    write_json(path, result)
    print(f"{path} written: {result['speed_up']:.2f} times as many candidates per minute")


def search(trained: Run, *, workers: int, kill: bool = False) -> dict[str, Any]:
    """Search on a copy of a run with several processes of one thread each.

    Args:
        trained: The run whose supernet is used.
        workers: Number of processes.
        kill: Kill the last of them once half of the candidates are finished.
    """
    run = Run(trained.folder.with_name(f"{trained.folder.name}-workers"))
    shutil.rmtree(run.folder, ignore_errors=True)
    shutil.copytree(trained.folder, run.folder, ignore=shutil.ignore_patterns("search", "lock"))
    settings = run.path("run.yaml")
    text = settings.read_text(encoding="utf-8")
    for name, old, new in (("generations", 4, GENERATIONS), ("population", 12, POPULATION)):
        text = text.replace(f"    {name}: {old}\n", f"    {name}: {new}\n")
    for name in ("mutations", "crossovers"):
        text = text.replace(f"    {name}: 6\n", f"    {name}: {POPULATION // 2}\n")
    settings.write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "noah_cli", "search", "--threads", "1"]
    processes = [subprocess.Popen([*command, "--resume", "--run", str(run.folder)], stdout=subprocess.DEVNULL)]
    while not run.path("search", "study.json").exists():
        time.sleep(0.5)
    for _ in range(workers - 1):
        processes.append(subprocess.Popen([*command, "--join", str(run.folder)], stdout=subprocess.DEVNULL))
    if kill:
        while len(read_lines(run.path("search", "candidates.jsonl"))) < (GENERATIONS + 1) * POPULATION // 2:
            time.sleep(0.5)
        processes[-1].kill()
    codes = [process.wait() for process in processes]
    return {**read_record(run), "exit_codes": codes, "winner": run.read_json("search", "best.json")["subnet"]}


def read_record(run: Run) -> dict[str, Any]:
    """Read the search's speed from its record, and what was evaluated twice."""
    storage = journal_storage(run.path("search", "journal.log"))
    study = storage.get_study_id_from_name(run.read_json("search", "study.json")["name"])
    trials = [
        trial for trial in storage.get_all_trials(study) if trial.state in (TrialState.COMPLETE, TrialState.PRUNED)
    ]
    indices = [trial.user_attrs["proposal"]["index"] for trial in trials]
    begun = min(trial.datetime_start for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete for trial in trials if trial.datetime_complete)
    minutes = (ended - begun).total_seconds() / 60
    return {
        "candidates": len(set(indices)),
        "evaluated_twice": len(indices) - len(set(indices)) + sum(map(images_shown_twice, trials)),
        "images": sum(len(look["images"]) for trial in trials for look in looks_of(trial)),
        "workers": len({trial.user_attrs["worker"] for trial in trials}),
        "minutes": minutes,
        "candidates_a_minute": len(indices) / minutes,
    }


def looks_of(trial: FrozenTrial) -> list[dict[str, Any]]:
    """List the records of the images that a candidate was shown."""
    return [value for key, value in trial.user_attrs.items() if key.startswith("look.")]


def images_shown_twice(trial: FrozenTrial) -> int:
    """Count the images that a candidate was shown more than once."""
    images = [image for look in looks_of(trial) for image in look["images"]]
    return len(images) - len(set(images))


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
