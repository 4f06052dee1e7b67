from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

WriteImages = Callable[..., list[Path]]


@pytest.fixture
def write_images() -> WriteImages:
    """Writes small PNG files `0.png`, `1.png`, ... of different gray into a folder, which it makes."""

    def write(folder: Path, count: int, suffix: str = ".png") -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        paths = [folder / f"{number}{suffix}" for number in range(count)]
        for number, path in enumerate(paths):
            Image.fromarray(np.full((6, 5, 3), number, np.uint8)).save(path)
        return paths

    return write
