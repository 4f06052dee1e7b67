"""Measures on one NVIDIA GPU the table of `benchmarks.steps`, and the time of the paper's recipe on synthetic images.

    python -m benchmarks.gpu [--parts steps,recipe,compiled,program] [--rounds 15] [--batch-size 64]
                             [--supernet-epochs 500] [--generations 15] [--retrain-epochs 100]
                             [--minutes 60] [--out docs/steps/cuda]

Four parts: the steps; the whole recipe for one VTAB task, which is 500 epochs of the supernet on 800 images, 800
candidates on 200, and 100 epochs of the winner on 1000, with ViT-B/16 at 224 px and the space `paper`; a training step
with compiled blocks; and a winner as a program of torch.export beside the backbone, plain and compiled. The last two
take minutes to compile. Weights are random, so nothing is downloaded; onnxruntime is not needed.

What is in the folder is not measured again, and a recipe that was stopped goes on where it was, with the seconds that
it took so far. Where --minutes have passed, the program ends with exit code 3.

--device cpu --tiny runs all of it on a tiny backbone in a minute: its figures mean nothing, but whatever fails there
would fail on the GPU, too.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from benchmarks.flops import measured_peak, published_peak
from benchmarks.program import PROGRAM_HEAD, program_rows, time_program
from benchmarks.recipe_time import time_recipe, vtab_settings
from benchmarks.step_tables import operations_rows, print_rows, print_table, read_result
from benchmarks.step_ways import CLASSES, Setting, Work
from benchmarks.steps import best_precision, device_name, measure, peak_memory
from noah.console.listener import RichListener
from noah.errors import NoahError
from noah.files.atomic import write_json
from noah.hardware.device import choose_hardware
from noah.hardware.gpu import look_for_gpus, why_unused
from noah.prepare.context import LARGEST_BATCH
from noah.runs.folder import installed_versions
from noah.settings.settings import HardwareSettings, Settings

PARTS = ("steps", "recipe", "compiled", "program")
STOPPED = 3
"""The exit code where time is up."""
TINY_SEARCH = {"generations": 1, "population": 4, "parents": 2, "mutations": 2, "crossovers": 2}


def main() -> None:
    """Measure what is asked for, and print it."""
    arguments = read_arguments()
    if arguments.device == "cuda" and (problem := why_no_cuda()):
        sys.exit(f"{problem} On a CPU, run: python -m benchmarks.steps")
    ends = time.monotonic() + 60 * arguments.minutes
    device = torch.device(arguments.device)
    measure_card(arguments, device)
    for part in arguments.parts.split(","):
        match part:
            case "steps":
                finished = time_steps(arguments, device, lambda: time.monotonic() > ends)
            case "recipe":
                finished = time_whole_recipe(arguments, device, lambda: time.monotonic() > ends)
            case "compiled":
                finished = time_compiled(arguments, device)
            case "program":
                finished = time_winner(arguments, device)
            case _:
                sys.exit(f"There is no part {part!r}; there are {', '.join(PARTS)}.")
        if not finished:
            print(f"Time is up; the same command goes on with the {part}, from {arguments.out}.")
            sys.exit(STOPPED)


def why_no_cuda() -> str:
    """Say why torch has no NVIDIA GPU; empty if it has one."""
    if torch.cuda.is_available():
        return ""
    unused = why_unused(look_for_gpus())
    return f"This benchmark needs an NVIDIA GPU, but torch finds none here{f': {unused}' if unused else ''}."


def read_arguments() -> argparse.Namespace:
    """Read the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--parts", default="steps,recipe", help=f"some of {', '.join(PARTS)}")
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="a tiny backbone and a tiny recipe, to see that all runs")
    parser.add_argument("--model", default="vit-s14-98,vit-b16-224")
    parser.add_argument("--space", default="paper,wide")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--supernet-epochs", type=int, default=500)
    parser.add_argument("--generations", type=int, default=15)
    parser.add_argument("--retrain-epochs", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=60.0, help="when to stop, to go on another time")
    parser.add_argument("--out", type=Path, default=Path("docs/steps/cuda"))
    arguments = parser.parse_args()
    if arguments.tiny:
        arguments.model, arguments.space, arguments.rounds, arguments.batch_size = "tiny", "paper", 2, 8
    return arguments


def measure_card(arguments: argparse.Namespace, device: torch.device) -> None:
    """Write down what the device is and can do, once."""
    path = arguments.out / "device.json"
    if path.is_file():
        return
    facts: dict[str, Any] = {"device": device_name(device), "versions": installed_versions()}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        facts |= {
            "memory_gib": round(properties.total_memory / 2**30, 1),
            "capability": f"{properties.major}.{properties.minor}",
            "cuda": torch.version.cuda,
        }
    facts |= {
        "precision": best_precision(device),
        "published_tflops": published_peak(facts["device"]),
        "measured_tflops": measured_peak(device, 256 if arguments.tiny else 8192),
    }
    write_json(path, facts)


def time_steps(arguments: argparse.Namespace, device: torch.device, leave: Callable[[], bool]) -> bool:
    """Measure and print the table; existing results are not measured again. Tells whether all was measured."""
    results = []
    works: tuple[Work, Work] = ("training", "evaluation")
    for model in arguments.model.split(","):
        for space in arguments.space.split(","):
            setting = Setting(model, space, device, arguments.batch_size, best_precision(device))
            for work in works:
                path = arguments.out / f"{model}-{space}-{work}.json"
                result = read_result(path, arguments.rounds)
                if result is None:
                    if leave():
                        return False
                    result = measure(setting, work, arguments.rounds, memory=False)
                    result["peak_mib"] = {name: peak_memory(setting, work, name) for name in result["seconds"]}
                    write_json(path, result)
                results.append(result)
    print_table(results)
    print()
    print_rows(*operations_rows(results, *peaks_of(arguments.out)))
    return True


def peaks_of(out: Path) -> tuple[float | None, float | None]:
    """Read the card's peak, by the data sheet and as measured."""
    facts = json.loads((out / "device.json").read_text(encoding="utf-8"))
    return facts["published_tflops"], facts["measured_tflops"]


def last_setting(arguments: argparse.Namespace, device: torch.device) -> Setting:
    """The last of the backbones with the first of the spaces, for what takes minutes to compile."""
    model, space = arguments.model.split(",")[-1], arguments.space.split(",")[0]
    return Setting(model, space, device, arguments.batch_size, best_precision(device))


def time_compiled(arguments: argparse.Namespace, device: torch.device) -> bool:
    """Measure a training step with compiled blocks beside the others, on the last of the backbones."""
    setting = last_setting(arguments, device)
    path = arguments.out / f"{setting.model}-{setting.space}-training-compiled.json"
    result = read_result(path, arguments.rounds)
    if result is None:
        result = measure(setting, "training", arguments.rounds, memory=False, compiled=True)
        write_json(path, result)
    print_table([result])
    print()
    print_rows(*operations_rows([result], *peaks_of(arguments.out)))
    return True


def time_winner(arguments: argparse.Namespace, device: torch.device) -> bool:
    """Measure a winner as a program beside the backbone, on the last of the backbones."""
    path = arguments.out / "program.json"
    result = read_result(path, arguments.rounds)
    if result is None:
        result = time_program(last_setting(arguments, device), arguments.rounds)
        write_json(path, result)
    print_rows(PROGRAM_HEAD, program_rows(result))
    return True


def time_whole_recipe(arguments: argparse.Namespace, device: torch.device, leave: Callable[[], bool]) -> bool:
    """Time every stage of the recipe, and print them; tells whether all were run to their end."""
    hardware = choose_hardware(HardwareSettings(device=device.type))
    settings = recipe_settings(arguments)
    model = "tiny" if arguments.tiny else "vit-b16-224"
    setting = Setting(model, "paper", device, settings.supernet.batch_size, hardware.precision)
    found = time_recipe(
        setting, hardware, settings, LARGEST_BATCH, RichListener(Console()), arguments.out / "recipe", leave
    )
    if found is None:
        return False
    name = device_name(device)
    print(
        f"\n{name}, {hardware.precision}, {model}, {CLASSES} classes: supernet {found.supernet:.0f} s "
        f"({settings.supernet.epochs} epochs), search {found.search:.0f} s ({found.candidates} candidates, "
        f"{found.images_shown:,} images shown), retraining {found.retrain:.0f} s ({settings.retrain.epochs} epochs); "
        f"together {found.total / 60:.1f} min"
    )
    write_json(
        arguments.out / "recipe.json",
        {
            "device": name,
            "model": model,
            "hardware": hardware.to_json(),
            "supernet_epochs": settings.supernet.epochs,
            "retrain_epochs": settings.retrain.epochs,
            **asdict(found),
            "total": found.total,
            "versions": installed_versions(),
        },
    )
    return True


def recipe_settings(arguments: argparse.Namespace) -> Settings:
    """The recipe's settings, with the numbers of epochs and generations that are asked for."""
    if arguments.tiny:
        short = {"epochs": 2, "warmup_epochs": 0}
        return vtab_settings(supernet=short, search=TINY_SEARCH, retrain=short)
    return vtab_settings(
        supernet={"epochs": arguments.supernet_epochs},
        search={"generations": arguments.generations},
        retrain={"epochs": arguments.retrain_epochs},
    )


if __name__ == "__main__":
    try:
        main()
    except NoahError as error:
        sys.exit(str(error))
