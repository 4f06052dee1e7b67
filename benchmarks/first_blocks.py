"""How much quicker a training is whose first blocks, without modules, are computed once for all epochs.

    python -m benchmarks.first_blocks [--rounds 3] [--threads 1] [--images 200]

Both ways of a training take turns, with the settings of the pocket recipe in the cheap setting of `benchmarks.pool`:
the digits at 56 px, 20 epochs. Prints one line of JSON for each subnet: medians in seconds, with the
computing of the first blocks included, the ratio, and whether the losses of all epochs are the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.pool import SETTING
from benchmarks.supernets import pocket_settings
from noah.data.augment.augmented_pixels import TrainingPixels
from noah.data.pixels.pixels import Pixels
from noah.data.split import select
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials, prepare, seed_torch
from noah.prepare.first_blocks import choose_blocks, keep_first_blocks
from noah.progress import Silent
from noah.space.subnet import Subnet
from noah.training.loop import train

EPOCHS = 20
SUBNETS = {
    "linear": Subnet.uniform(12),
    "lora:8 in the last 6": Subnet(lora=[0] * 6 + [8] * 6),
}


def main() -> None:
    """Time both ways for every subnet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=200)
    arguments = parser.parse_args()
    changes = {**SETTING, "retrain": {"epochs": EPOCHS}, "hardware": {"threads": arguments.threads}}
    settings, _ = pocket_settings("digits", {"seed": 0, **changes})
    materials = prepare(settings, Silent())
    split = select(materials.dataset.full_train, np.arange(arguments.images))
    pixels = materials.pixels(split, "training", Silent())
    for name, subnet in SUBNETS.items():
        seconds: dict[bool, list[float]] = {False: [], True: []}
        losses: set[tuple[float, ...]] = set()
        for _ in range(arguments.rounds):
            for keeps in seconds:
                began = time.perf_counter()
                losses.add(run(subnet, materials, pixels, keeps=keeps))
                seconds[keeps].append(time.perf_counter() - began)
        before, after = (statistics.median(values) for values in seconds.values())
        print(
            json.dumps(
                {
                    "subnet": name,
                    "in every epoch": round(before, 2),
                    "once": round(after, 2),
                    "ratio": round(statistics.median(map(float.__truediv__, *seconds.values())), 2),
                    "same losses": len(losses) == 1,
                }
            ),
            flush=True,
        )


def run(subnet: Subnet, materials: Materials, pixels: TrainingPixels, *, keeps: bool) -> tuple[float, ...]:
    """Train a fresh subnet in one of the two ways; give the losses of its epochs."""
    settings = materials.settings.retrain
    seed_torch(0)
    model = build_supernet(materials, subnet, settings)
    with tempfile.TemporaryDirectory() as folder, Silent().bar("", settings.epochs, "epochs") as bar:
        kept = None
        if keeps and isinstance(pixels, Pixels):
            blocks, _ = choose_blocks(model, settings, 1)
            kept = keep_first_blocks(model, blocks, pixels, settings, materials, Path(folder), Silent())
        losses = train(
            model,
            pixels,
            materials.backbone.preprocessing,
            lambda *_: (subnet,),
            settings,
            materials.hardware,
            seed=(0, 1),
            checkpoint=Path(folder, "checkpoint"),
            bar=bar,
            say=print,
            kept=kept,
        )
    return tuple(losses)


if __name__ == "__main__":
    main()
