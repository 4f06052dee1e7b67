"""What a container's quota does to threads: as many as noah chooses beside all cores, under half a core of time.

    sudo python -m benchmarks.quota [--cores 0.5] [--seconds 20]

Makes a control group of version 1 or 2 with the quota, enters it, and lets the backbone ViT-S/14 of random weights at
56 px classify batches of 8 images, in turns with either number of threads. Prints one line of JSON: the threads chosen
and why, images per second with either (medians of the turns), and the ratio with its quartiles. Needs Linux and the
right to make control groups.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import timm
import torch

from noah.hardware.control_groups import MOUNTED
from noah.hardware.cores import choose_threads, usable_cores

PERIOD = 100_000
"""Microseconds over which the quota counts, which is the usual period."""
TURN = 1.0
"""Seconds of a turn, long enough for several periods."""


def main() -> None:
    """Enter the group, and measure in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--cores", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=20.0)
    arguments = parser.parse_args()
    everything = usable_cores().count
    group = make_group(arguments.cores)
    home = Path(f"/proc/{os.getpid()}/cgroup").read_text()
    (group / "cgroup.procs").write_text(str(os.getpid()))
    try:
        chosen = choose_threads()
        network = timm.create_model("vit_small_patch14_dinov2", img_size=56).eval()
        images = torch.zeros(8, 3, 56, 56)
        speeds: dict[int, list[float]] = {chosen.count: [], everything: []}
        ends = time.monotonic() + arguments.seconds
        while time.monotonic() < ends:
            for threads, found in speeds.items():
                torch.set_num_threads(threads)
                found.append(speed(network, images))
        ratios = np.divide(speeds[chosen.count], speeds[everything])
        line = {
            "quota": arguments.cores,
            "threads": chosen.count,
            "reason": chosen.reason,
            "all": everything,
            "images_per_second": {str(count): round(float(np.median(found)), 1) for count, found in speeds.items()},
            "ratio": round(float(np.median(ratios)), 3),
            "quartiles": np.percentile(ratios, [25, 75]).round(3).tolist(),
            "rounds": len(ratios),
        }
        print(json.dumps(line))
    finally:
        leave(group, home)


def make_group(cores: float) -> Path:
    """Make a control group that may use so many cores' worth of time."""
    version_1 = MOUNTED / "cpu"
    group = (version_1 if version_1.is_dir() else MOUNTED) / f"noah-quota-{os.getpid()}"
    group.mkdir()
    if version_1.is_dir():
        (group / "cpu.cfs_period_us").write_text(str(PERIOD))
        (group / "cpu.cfs_quota_us").write_text(str(round(cores * PERIOD)))
    else:
        (group / "cpu.max").write_text(f"{round(cores * PERIOD)} {PERIOD}")
    return group


def leave(group: Path, home: str) -> None:
    """Go back to the group where this process was, and remove the one that was made."""
    controller = "cpu" if group.parent.name == "cpu" else ""
    path = next(line.split(":", 2)[2] for line in home.splitlines() if line.split(":")[1] == controller)
    (group.parent / path.lstrip("/") / "cgroup.procs").write_text(str(os.getpid()))
    group.rmdir()


def speed(network: torch.nn.Module, images: torch.Tensor) -> float:
    """Count the images per second of one turn."""
    began, done = time.monotonic(), 0
    with torch.inference_mode():
        while (elapsed := time.monotonic() - began) < TURN:
            network(images)
            done += len(images)
    return done / elapsed


if __name__ == "__main__":
    main()
