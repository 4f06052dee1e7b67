"""Times a training step and the evaluation of a candidate against a straightforward implementation of the method.

    python -m benchmarks.steps [--model vit-s14-98,vit-b16-224] [--space paper,wide] [--work training,evaluation]
                               [--rounds 15] [--no-memory] [--out docs/steps]

For each backbone and space, the same random subnets are computed in turns by

- straightforward fp32: `benchmarks.straightforward`;
- ours in fp32, and ours in the device's best precision, which in training is timed both from decoded pixels, as in a
  run, and from one batch that never changes;
- the plain backbone's forward pass in both precisions, as the lower bound.

In every round, each way computes one step with the round's subnet, in an order that rotates from round to round. A
ratio is the median of the rounds' ratios, so it is hardly affected if the machine is slow for a while. Before anything
is timed, logits and gradients of the straightforward way and of ours are compared in float32. Peak memory is measured
in a separate process for each way.

Each backbone, space and work gives one JSON file. Files with enough rounds are not measured again, so a stopped
benchmark goes on; --again starts from scratch.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.flops import step_operations
from benchmarks.peak import held, peak
from benchmarks.step_tables import print_table, read_result
from benchmarks.step_ways import ARCHITECTURES, CLASSES, Setting, Work, all_ways, check_agreement, default_batch_size
from noah.cost.macs import backbone_macs, macs_of
from noah.files.atomic import write_json
from noah.hardware.device import Precision, choose_hardware
from noah.hardware.processor import processor_name
from noah.hardware.step_clock import wait
from noah.runs.folder import installed_versions
from noah.settings.settings import HardwareSettings
from noah.space.operators import sample
from noah.space.subnet import Subnet

WARM_UP = 2
"""Rounds at the start that are not counted."""
MEMORY_STEPS = 3
"""Steps, each with another subnet, over which peak memory is measured."""


def main() -> None:
    """Measure what is asked for and has no file yet, then print the table."""
    arguments = read_arguments()
    device = torch.device(arguments.device)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    settings = [
        Setting(
            model,
            space,
            device,
            arguments.batch_size or default_batch_size(model, device),
            best_precision(device),
        )
        for model in arguments.model.split(",")
        for space in arguments.space.split(",")
    ]
    works: list[Work] = arguments.work.split(",")
    if arguments.peak_of:
        print(peak_memory(settings[0], works[0], arguments.peak_of))
        return
    results = []
    for setting in settings:
        for work in works:
            path = arguments.out / f"{setting.model}-{setting.space}-{work}.json"
            result = None if arguments.again else read_result(path, arguments.rounds)
            if result is None:
                clock = time.process_time if arguments.processor_time else time.perf_counter
                result = measure(setting, work, arguments.rounds, clock, memory=not arguments.no_memory)
                write_json(path, result)
            results.append(result)
    print_table(results)


def read_arguments() -> argparse.Namespace:
    """Read the options of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="vit-s14-98,vit-b16-224", help=f"some of {', '.join(ARCHITECTURES)}")
    parser.add_argument("--space", default="paper,wide", help="presets of the search space")
    parser.add_argument("--work", default="training,evaluation")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--batch-size", type=int, help="images per step")
    parser.add_argument("--threads", type=int, help="threads of torch")
    parser.add_argument(
        "--processor-time",
        action="store_true",
        help="measure processor time instead of elapsed time: with --threads 1, for a machine that others use too",
    )
    parser.add_argument("--no-memory", action="store_true", help="leave peak memory out")
    parser.add_argument("--again", action="store_true", help="measure again what has been measured")
    parser.add_argument("--out", type=Path, default=Path("docs/steps"))
    parser.add_argument("--peak-of", help=argparse.SUPPRESS)  # the way whose peak memory a separate process measures
    return parser.parse_args()


def best_precision(device: torch.device) -> Precision:
    """Give bfloat16 if the device supports it natively, else float32."""
    if device.type == "cpu":
        native: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()
        return "bf16" if native else "fp32"
    return choose_hardware(HardwareSettings(device=device.type)).precision


def random_subnets(setting: Setting, count: int) -> list[Subnet]:
    """Draw subnets as a supernet's training does, the same ones every time."""
    space = setting.search_space(setting.backbone())
    rng = np.random.default_rng(7)
    return [sample(space, rng) for _ in range(count)]


def measure(
    setting: Setting,
    work: Work,
    rounds: int,
    clock: Callable[[], float] = time.perf_counter,
    *,
    memory: bool,
    compiled: bool = False,
) -> dict[str, Any]:
    """Measure all ways of one kind of work, and describe the machine and the measurement.

    Args:
        setting: Backbone, space and device.
        work: Training or evaluation.
        rounds: How many are counted.
        clock: Gives the seconds.
        memory: Whether peak memory is measured, too.
        compiled: Whether compiled blocks are among the ways of training; all are compiled before anything is timed.
    """
    subnets = random_subnets(setting, WARM_UP + rounds)
    agreement = check_agreement(setting, subnets[0])
    seconds: dict[str, list[float]] = {}
    with all_ways(setting, work, compiled=compiled) as ways:
        for name in (name for name in ways if "compiled" in name):
            for subnet in subnets:
                ways[name](subnet)()
        for number, subnet in enumerate(subnets):
            names = list(ways)
            for name in names[number % len(names) :] + names[: number % len(names)]:
                run = ways[name](subnet)
                wait(setting.device)
                started = clock()
                run()
                wait(setting.device)
                if number >= WARM_UP:
                    seconds.setdefault(name, []).append(clock() - started)
    macs, plain = merged_and_plain_macs(setting, subnets[WARM_UP:])
    counted_steps = zip(macs, subnets[WARM_UP:], strict=True)
    return {
        "model": setting.model,
        "architecture": ARCHITECTURES[setting.model][0],
        "image_size": ARCHITECTURES[setting.model][1],
        "space": setting.space,
        "work": work,
        "batch_size": setting.batch_size,
        "device": device_name(setting.device),
        "threads": torch.get_num_threads(),
        "rounds": rounds,
        "clock": clock.__name__,
        "agreement": agreement,
        "macs_ratio": [count / plain for count in macs],
        "operations": [
            step_operations(count, subnet, setting.batch_size, training=work == "training")
            for count, subnet in counted_steps
        ],
        "seconds": {name: seconds[name] for name in ways},
        "peak_mib": peaks(setting, work, list(ways)) if memory else {},
        "versions": installed_versions(),
    }


def merged_and_plain_macs(setting: Setting, subnets: list[Subnet]) -> tuple[list[int], int]:
    """Count the multiply-accumulates of each subnet's merged network and of the backbone, for one image."""
    backbone = setting.backbone()
    macs = macs_of(backbone, CLASSES)
    return [macs(subnet) for subnet in subnets], backbone_macs(backbone, CLASSES)


def peaks(setting: Setting, work: Work, names: list[str]) -> dict[str, float | None]:
    """Measure each way's peak memory: torch's own figure on a GPU, that of a separate process on a CPU."""
    if setting.device.type != "cpu":
        return {name: peak_memory(setting, work, name) for name in names}
    found = {}
    for name in names:
        options: Mapping[str, object] = {
            "model": setting.model,
            "space": setting.space,
            "work": work,
            "batch-size": setting.batch_size,
            "peak-of": name,
        }
        command = [sys.executable, "-m", "benchmarks.steps", *(f"--{key}={value}" for key, value in options.items())]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        found[name] = None if printed == "None" else float(printed)
    return found


def peak_memory(setting: Setting, work: Work, name: str) -> float | None:
    """Measure the most MiB that one way needs for its weights and a few steps, beyond Python and its libraries."""
    subnets = random_subnets(setting, MEMORY_STEPS)
    before = held(setting.device)

    with all_ways(setting, work, only=name, compiled="compiled" in name) as ways:

        def steps() -> None:
            for subnet in subnets:
                ways[name](subnet)()

        most = peak(setting.device, steps)
    return None if most is None or before is None else most - before


def device_name(device: torch.device) -> str:
    """Give the product name of the GPU or the processor."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return processor_name()


if __name__ == "__main__":
    main()
