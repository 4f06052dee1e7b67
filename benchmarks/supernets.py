"""The supernets that the measurements of the search share: trained once each, as `noah search --recipe pocket` does."""

from __future__ import annotations

from pathlib import Path

from noah.layers import Layer, recipe_layer, resolve
from noah.materials import Materials, prepare
from noah.progress import Silent
from noah.run_budget import run_budget
from noah.runs import Run, open_run
from noah.start import start_run
from noah.supernet import Supernet
from noah.supernet_stage import train_supernet

DATASETS = "digits,rendered_dsprites_loc,shapes_count"


def supernet_run(
    runs: Path, dataset: str, seed: int, *, sampling: str = "uniform", epochs: int = 20, threads: int = 1
) -> tuple[Run, Materials, Supernet]:
    """The run of one supernet, which is trained now if it is not there yet, or goes on if its training was stopped.

    Args:
        runs: Folder of the runs.
        dataset: Name of a data set that comes with noah or is drawn by it.
        seed: Of the split and the training.
        sampling: How the subnets of a step are drawn.
        epochs: Of its training.
        threads: Of torch.
    """
    name = f"{sampling}-{epochs}-seed{seed}"
    values = {
        "seed": seed,
        "data": {"dataset": dataset},
        "supernet": {"sampling": sampling, "epochs": epochs},
        "hardware": {"precision": "bf16", "threads": threads},
    }
    settings, origins = resolve([recipe_layer("pocket"), Layer(source="benchmark", values=values)])
    if (runs / dataset / name / "run.yaml").exists():
        run, materials = open_run(runs, f"{dataset}/{name}"), prepare(settings, Silent())
    else:
        run, materials = start_run(runs, settings, origins, Silent(), name=name)
    return run, materials, train_supernet(run, materials, run_budget(run, materials), Silent())
