"""What the measurements of the search share: options, and supernets trained once, as in `noah benchmark pocket`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from noah.benchmark.suites import POCKET
from noah.benchmark.sweep_settings import SweepSettings
from noah.files.atomic import write_json
from noah.model.supernet import Supernet
from noah.prepare.context import Materials, prepare
from noah.prepare.new_run import start_run
from noah.prepare.run_budget import run_budget
from noah.progress import Silent
from noah.runs.folder import Run, open_run
from noah.settings.layers import Layer, recipe_layer
from noah.settings.settings import Settings
from noah.stages.supernet_stage import train_supernet

DATASETS = "digits,rendered_dsprites_loc,shapes_count"


def supernet_run(
    runs: Path,
    dataset: str,
    seed: int,
    *,
    sampling: str = "uniform",
    epochs: int = 20,
    learning_rate: float | None = None,
    threads: int = 1,
) -> tuple[Run, Materials, Supernet]:
    """Give the run of one supernet; it is trained now if there is none yet, and a stopped training goes on.

    Args:
        runs: Folder of the runs.
        dataset: Name of a dataset that comes with noah or is drawn by it.
        seed: Seed of the split and the training.
        sampling: How the subnets of a step are drawn.
        epochs: Epochs of the supernet's training.
        learning_rate: Learning rate of the supernet's training; None for the recipe's.
        threads: Number of torch's threads.
    """
    name = f"{sampling}-{epochs}{'' if learning_rate is None else f'-{learning_rate:g}'}-seed{seed}"
    supernet: dict[str, Any] = {"sampling": sampling, "epochs": epochs}
    values = {
        "seed": seed,
        "supernet": supernet if learning_rate is None else supernet | {"learning_rate": learning_rate},
        "hardware": {"precision": "bf16", "threads": threads},
    }
    settings, origins = pocket_settings(dataset, values)
    if (runs / dataset / name / "run.yaml").exists():
        run, materials = open_run(runs, f"{dataset}/{name}"), prepare(settings, Silent())
    else:
        run, materials = start_run(runs, settings, origins, Silent(), name=name)
    return run, materials, train_supernet(run, materials, run_budget(run, materials), Silent())


def pocket_settings(dataset: str, values: dict[str, Any]) -> tuple[Settings, dict[str, str]]:
    """Give the settings of the pocket benchmark for a dataset, with the given changes, and each value's source."""
    changes = (Layer(source="benchmark", values=values),)
    return SweepSettings(POCKET, recipe_layer("pocket"), changes).of_task(dataset)


def measure_cells(
    parser: argparse.ArgumentParser, *, seeds: str, prefix: str, measure: Callable[[str, int, argparse.Namespace], Any]
) -> None:
    """Measure the datasets and seeds of this shard that have no file yet, and write a file for each.

    Args:
        parser: Has the options of this measurement; the shared ones are added.
        seeds: The default of --seeds.
        prefix: Beginning of the files' names.
        measure: Takes dataset, seed and options, and gives the content of the file.
    """
    parser.add_argument("--datasets", default=DATASETS)
    parser.add_argument("--seeds", default=seeds)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--shard", default="1/1", help="such as 1/2: the first of two processes that share the work")
    parser.add_argument("--runs", type=Path, default=Path("runs/search"))
    parser.add_argument("--out", type=Path, default=Path("docs/search"))
    arguments = parser.parse_args()
    shard, shards = map(int, arguments.shard.split("/"))
    cells = [(dataset, int(seed)) for seed in arguments.seeds.split(",") for dataset in arguments.datasets.split(",")]
    for dataset, seed in cells[shard - 1 :: shards]:
        path = arguments.out / f"{prefix}{dataset}-seed{seed}.json"
        if not path.exists():
            write_json(path, measure(dataset, seed, arguments))
            print(f"{path} written", flush=True)
