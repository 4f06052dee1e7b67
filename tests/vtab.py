"""A miniature VTAB-1k task in its layout of lists."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

LISTS = {"train800": 12, "val200": 6, "test": 6}
"""Images of each list."""
CLASSES = 3
"""Labels 0 to 2 are in use, each with its own color."""


def write_vtab(folder: Path) -> Path:
    """Write lists and images of a task; the images of each list lie in a folder of the same name."""
    rng = np.random.default_rng(11)
    lines: dict[str, list[str]] = {}
    for name, count in LISTS.items():
        (folder / "images" / name).mkdir(parents=True)
        lines[name] = []
        for number in range(count):
            label = number % CLASSES
            image = rng.normal(110, 25, (32, 32, 3))
            image[8:24, 8:24, label] += 100
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "images" / name / f"{number}.png")
            lines[name].append(f"images/{name}/{number}.png {label}\n")
    lines["train800val200"] = lines["train800"] + lines["val200"]
    for name, content in lines.items():
        (folder / f"{name}.txt").write_text("".join(content))
    return folder
