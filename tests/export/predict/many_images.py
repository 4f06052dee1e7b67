"""Small images in each kind of place that predictions on a cluster are read from."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

BROKEN = b"this is no image"


def png(number: int) -> bytes:
    """The bytes of an image like no other: 12 x 9 pixels."""
    pixels = np.random.default_rng(number).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), "png")
    return file.getvalue()


def write_folder(folder: Path, numbers: range, broken: tuple[int, ...] = ()) -> list[str]:
    """Write images into a folder, and give their paths; those of some numbers are broken."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / f"{number:05}.png").write_bytes(BROKEN if number in broken else png(number))
    return [str(folder / f"{number:05}.png") for number in numbers]


def write_archive(path: Path, numbers: range, broken: tuple[int, ...] = ()) -> list[str]:
    """Write a WebDataset shard: images and labels, in folders or not, and what macOS leaves there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    names = []
    with tarfile.open(path, "w") as archive:
        for number in numbers:
            name = f"deep/{number:05}.png" if number % 2 else f"./{number:05}.png"
            for inside, content in (
                (name, BROKEN if number in broken else png(number)),
                (name.replace(".png", ".cls"), b"3"),
                (name.replace("0", "._0", 1), b"resource fork"),
            ):
                info = tarfile.TarInfo(inside)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
            names.append(f"{path}/{name}")
    return names


def write_table(path: Path, cells: list[Any], *, column: str = "image", group: int = 4) -> None:
    """Write a Parquet table with one column and row groups of a few rows."""
    import pyarrow
    from pyarrow import parquet

    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(pyarrow.table({column: cells, "label": list(range(len(cells)))}), path, row_group_size=group)
