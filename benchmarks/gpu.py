"""Measures on one NVIDIA GPU the table of `benchmarks.steps`, and the time of the paper's recipe on synthetic images.

    python -m benchmarks.gpu [--rounds 15] [--batch-size 64] [--steps-only | --recipe-only] [--supernet-epochs 500]
                             [--generations 15] [--retrain-epochs 100] [--out docs/steps/cuda]

The recipe is for one VTAB task: 500 epochs of the supernet on 800 images, 800 candidates on 200, and 100 epochs of the
winner on 1000, with ViT-B/16 at 224 px and the space `paper`. Weights are random, so nothing is downloaded; onnxruntime
is not needed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path

import torch

from benchmarks.recipe_time import time_recipe, vtab_settings
from benchmarks.step_tables import print_table, read_result
from benchmarks.step_ways import CLASSES, Setting, Work
from benchmarks.steps import best_precision, measure
from noah.errors import NoahError
from noah.files.atomic import write_json
from noah.hardware.device import choose_hardware
from noah.prepare.context import LARGEST_BATCH
from noah.runs.folder import installed_versions
from noah.settings.settings import HardwareSettings
from noah_cli.terminal.console import ConsoleListener

DEVICE = torch.device("cuda")


def main() -> None:
    """Measure what is asked for, and print it."""
    arguments = read_arguments()
    if not torch.cuda.is_available():
        sys.exit(
            "This benchmark needs an NVIDIA GPU, but torch finds none here. On a CPU, run: python -m benchmarks.steps"
        )
    if not arguments.recipe_only:
        time_steps(arguments)
    if not arguments.steps_only:
        time_whole_recipe(arguments)


def read_arguments() -> argparse.Namespace:
    """Read the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="vit-s14-98,vit-b16-224")
    parser.add_argument("--space", default="paper,wide")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps-only", action="store_true")
    parser.add_argument("--recipe-only", action="store_true")
    parser.add_argument("--supernet-epochs", type=int, default=500)
    parser.add_argument("--generations", type=int, default=15)
    parser.add_argument("--retrain-epochs", type=int, default=100)
    parser.add_argument("--out", type=Path, default=Path("docs/steps/cuda"))
    return parser.parse_args()


def time_steps(arguments: argparse.Namespace) -> None:
    """Measure and print the table; existing results are not measured again."""
    results = []
    works: tuple[Work, Work] = ("training", "evaluation")
    for model in arguments.model.split(","):
        for space in arguments.space.split(","):
            setting = Setting(model, space, DEVICE, arguments.batch_size, best_precision(DEVICE))
            for work in works:
                path = arguments.out / f"{model}-{space}-{work}.json"
                result = read_result(path, arguments.rounds)
                if result is None:
                    result = measure(setting, work, arguments.rounds, memory=True)
                    write_json(path, result)
                results.append(result)
    print_table(results)


def time_whole_recipe(arguments: argparse.Namespace) -> None:
    """Time every stage of the recipe, and print them beside the target."""
    hardware = choose_hardware(HardwareSettings(device="cuda"))
    settings = vtab_settings(
        supernet={"epochs": arguments.supernet_epochs},
        search={"generations": arguments.generations},
        retrain={"epochs": arguments.retrain_epochs},
    )
    setting = Setting("vit-b16-224", "paper", DEVICE, settings.supernet.batch_size, hardware.precision)
    found = time_recipe(setting, hardware, settings, LARGEST_BATCH, ConsoleListener())
    name = torch.cuda.get_device_name()
    print(
        f"\n{name}, {hardware.precision}, ViT-B/16, 224 px, {CLASSES} classes: supernet {found.supernet:.0f} s "
        f"({settings.supernet.epochs} epochs), search {found.search:.0f} s ({found.candidates} candidates, "
        f"{found.images_shown:,} images shown), retraining {found.retrain:.0f} s ({settings.retrain.epochs} epochs); "
        f"together {found.total / 60:.1f} min"
    )
    write_json(
        arguments.out / "recipe.json",
        {
            "device": name,
            "hardware": hardware.to_json(),
            "supernet_epochs": settings.supernet.epochs,
            "retrain_epochs": settings.retrain.epochs,
            **asdict(found),
            "total": found.total,
            "versions": installed_versions(),
        },
    )


if __name__ == "__main__":
    try:
        main()
    except NoahError as error:
        sys.exit(str(error))
