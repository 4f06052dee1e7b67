"""Until a person asks for the test split, nothing of it is opened or listed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from noah.data.pixels.pixels import load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.sources.registry import load_dataset
from noah.settings.settings import DataSettings
from tests.noah.data.conftest import WriteImages

SMALL = Preprocessing(4, 4, "squash", 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

_recorders: list[list[str]] = []


@cache
def _install_hook() -> None:
    """Record into every list of `_recorders`. A hook cannot be removed, so that one serves all tests."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if _recorders and event in {"open", "os.scandir", "os.listdir"}:
            path = arguments[0]
            if isinstance(path, str | bytes | os.PathLike):
                for recorder in _recorders:
                    recorder.append(os.fsdecode(path))

    sys.addaudithook(hook)


@contextmanager
def touched_paths() -> Iterator[list[str]]:
    """Every path that is opened or listed meanwhile, by any thread."""
    _install_hook()
    paths: list[str] = []
    _recorders.append(paths)
    try:
        yield paths
    finally:
        _recorders.remove(paths)


@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("layout", ["folder", "vtab"])
def test_training_touches_nothing_of_the_test_split(
    tmp_path: Path, write_images: WriteImages, layout: str, in_memory: bool
) -> None:
    if layout == "folder":
        for part in ("train", "val", "test"):
            for name in ("a", "b"):
                write_images(tmp_path / part / name, 3)
        name, folder = None, str(tmp_path)
    else:
        for part in ("train800", "val200", "test"):
            write_images(tmp_path / "dtd" / "images" / part, 3)
            lines = (f"images/{part}/{number}.png {number}\n" for number in range(3))
            (tmp_path / "dtd" / f"{part}.txt").write_text("".join(lines))
        name, folder = "dtd", None

    with touched_paths() as paths:
        dataset = load_dataset(DataSettings(dataset=name, folder=folder, root=str(tmp_path)), seed=0)
        for split in (dataset.train, dataset.validation, dataset.full_train):
            pixels = load_pixels(split, SMALL, memory_limit=None if in_memory else 0)
            pixels.batch(pixels.labels * 0)
    ours = [Path(path).relative_to(tmp_path) for path in paths if path.startswith(str(tmp_path))]
    assert ours, "the hook saw nothing"
    assert not [path for path in ours if "test" in path.parts or "test.txt" in path.parts]

    with touched_paths() as paths:
        load_pixels(dataset.load_test(), SMALL)
    assert any("test" in Path(path).parts for path in paths)
