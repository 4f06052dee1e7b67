"""How long `noah datasets check` takes for a folder of small images, and how much memory.

    python benchmarks/dataset_check.py [--images 20000 5000] [--side 64]

Writes so many JPEG files of noise and shapes in ten classes, checks them in a process of its own, and prints one line
of JSON for each number of images: the seconds of the whole command, the processor's seconds, and the peak of its memory
in MiB. The peak should hardly grow with the number of images.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

_CLASSES = 10


def write_images(folder: Path, images: int, side: int) -> None:
    """Write FOLDER/<class>/<number>.jpg."""
    rng = np.random.default_rng(0)
    for name in range(_CLASSES):
        (folder / f"class{name}").mkdir(parents=True)
    for number in range(images):
        pixels = rng.integers(0, 255, (side // 4, side // 4, 3), dtype=np.uint8)
        picture = Image.fromarray(pixels).resize((side, side), Image.Resampling.BICUBIC)
        picture.save(folder / f"class{number % _CLASSES}" / f"{number}.jpg", quality=90)


def measure(folder: Path) -> dict[str, float]:
    """Run the command in a process of its own."""
    started = time.monotonic()
    command = [sys.executable, "-m", "noah_cli", "datasets", "check", str(folder)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return {
        "seconds": round(time.monotonic() - started, 1),
        "processor_seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_mib": round(usage.ru_maxrss / 1024, 1),
        "load": round(os.getloadavg()[0], 1),
    }


def main() -> None:
    """Measure each number of images."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, nargs="+", default=[5_000, 20_000])
    parser.add_argument("--side", type=int, default=64)
    options = parser.parse_args()
    for images in options.images:
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "images"
            write_images(folder, images, options.side)
            print(json.dumps({"images": images, "side": options.side, **measure(folder)}), flush=True)


if __name__ == "__main__":
    main()
