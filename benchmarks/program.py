"""How fast a winner is as a program of torch.export, which is what `--format pt2` writes, beside the plain backbone.

A part of `benchmarks.gpu`. The program is written and loaded as on any machine, on the CPU, and then moved to the
device. Both networks are run as they are and compiled by torch.compile, which takes minutes. Their weights are in
float32, and bf16 casts them in every pass, as a person who loads a program would run it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.step_tables import ratio
from benchmarks.step_ways import ARCHITECTURES, Setting, logits_of, pair
from benchmarks.steps import device_name, random_subnets
from export.convert.to_program import PROGRAM_FILE, export_program, save_program
from noah.hardware.step_clock import wait
from noah.hardware.turns import seconds_in_turns
from noah.model.merge import merge
from noah.runs.folder import installed_versions

WARM_UP = 3
ALLOWED = 1e-3
"""The largest difference of logits in float32, relative to the largest one; a program may add in another order."""
PROGRAM_HEAD = ["way", "images/s", "x backbone"]


@dataclass(frozen=True)
class Networks:
    """What is timed, on the device, and how far the program is from the network that it was made from.

    Attributes:
        backbone: The plain backbone.
        program: The winner as a program.
        difference: Of their logits in float32, relative to the largest.
    """

    backbone: nn.Module
    program: nn.Module
    difference: float


def networks(setting: Setting) -> Networks:
    """Write a winner as a program, load it on the device, and compare it with what it was made from.

    Raises:
        AssertionError: If they differ by more than rounding explains.
    """
    supernet = pair(setting, 0.0)[1].eval()
    merged = merge(supernet, random_subnets(setting, 1)[0])
    images, _ = setting.batch()
    with torch.inference_mode():
        expected = merged(images)
    side = ARCHITECTURES[setting.model][1]
    with tempfile.TemporaryDirectory(prefix="noah-") as folder:
        path = Path(folder) / PROGRAM_FILE
        save_program(export_program(merged.cpu(), height=side, width=side), path, {})
        program = load_on(path, setting.device)
    with torch.inference_mode():
        difference = float((program(images) - expected).abs().max() / expected.abs().max())
    assert difference < ALLOWED, difference
    return Networks(supernet.backbone.to(setting.device), program, difference)


def load_on(path: Path, device: torch.device) -> nn.Module:
    """Load a program for a device, as docs/deploy.md says."""
    from torch.export.passes import move_to_device_pass

    return move_to_device_pass(torch.export.load(path), device).module()


def time_program(setting: Setting, rounds: int) -> dict[str, Any]:
    """Time the program and the backbone in turns, plain and compiled, in the device's best precision and in float32.

    Args:
        setting: Backbone, space and device.
        rounds: How many are counted.

    Returns:
        The seconds of each round by the name of the way, and what they were measured on.
    """
    found = networks(setting)
    images, _ = setting.batch()
    runs: dict[str, Callable[[], Tensor]] = {}
    for precision in dict.fromkeys(("fp32", setting.precision)):
        hardware = setting.hardware(precision)
        for name, network in (("backbone", found.backbone), ("program", found.program)):
            runs[f"{name} {precision}"] = logits_of(network, images, hardware)
            runs[f"{name}-compiled {precision}"] = logits_of(torch.compile(network), images, hardware)
    for run in runs.values():
        run()  # compiles it
    seconds = seconds_in_turns(
        [*runs.values()],
        warm_up=WARM_UP,
        is_enough=lambda counted, _: counted >= rounds,
        settle=lambda: wait(setting.device),
    )
    return {
        "model": setting.model,
        "space": setting.space,
        "batch_size": setting.batch_size,
        "device": device_name(setting.device),
        "rounds": rounds,
        "difference": found.difference,
        "seconds": dict(zip(runs, seconds, strict=True)),
        "versions": installed_versions(),
    }


def program_rows(result: dict[str, Any]) -> list[list[str]]:
    """Make a row for each way; its speed is relative to the plain backbone in the same precision."""
    rows = []
    for name, seconds in result["seconds"].items():
        beside = ratio(result, name, f"backbone {name.split()[1]}")
        rows.append([name, f"{result['batch_size'] / median(seconds):.1f}", f"{beside:.2f}"])
    return rows
