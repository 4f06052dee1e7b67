from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noah.data.pixels.originals import load_originals
from noah.data.split import FileSplit
from noah.errors import UnreadableImageError

SIZES = [(3 + number, 5) for number in range(70)]
BYTES = [3 * width * height for width, height in SIZES]


@pytest.fixture
def split(tmp_path: Path) -> FileSplit:
    rng = np.random.default_rng(0)
    paths = tuple(tmp_path / f"{number:03}.png" for number in range(len(SIZES)))
    for path, (width, height) in zip(paths, SIZES, strict=True):
        Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8)).save(path)
    return FileSplit(paths, np.zeros(len(SIZES), np.int64))


@pytest.mark.parametrize("held", [0, 1, 33, 69, 70])
def test_images_are_the_same_in_memory_and_on_demand(split: FileSplit, held: int) -> None:
    originals = load_originals(split, memory_limit=sum(BYTES[: held + 1]) - (held < 70))
    assert originals.in_memory == (held == 70)
    indices = np.array([69, 0, 33, 33, 1])
    images = originals.images(indices)
    assert [image.size for image in images] == [SIZES[index] for index in indices]
    assert [image.tobytes() for image in images] == [split.open(int(index)).tobytes() for index in indices]
    for path in split.paths[:held]:
        path.unlink()
    assert len(originals.images(np.arange(70))) == 70  # what is held is not read again
    for path in split.paths[held:]:
        path.unlink()
    if held < 70:
        told = rf"^{70 - held} of 70 images cannot be read:\n .*{held:03}\.png"
        with pytest.raises(UnreadableImageError, match=told):
            originals.images(np.arange(70))


def test_the_reason_has_the_sizes(split: FileSplit) -> None:
    assert load_originals(split, memory_limit=2**20).reason == (
        "70 images at their own sizes need 38 KiB, within the 1 MiB that they may take: "
        "they are decoded once and held in memory."
    )
    assert load_originals(split, memory_limit=2**10).reason == (
        "Only 9 of 70 images at their own sizes fit into the 1 KiB that they may take: "
        "the others are decoded anew for each batch."
    )


def test_the_default_limit_is_half_of_what_is_free(split: FileSplit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noah.data.pixels.originals.available_memory", lambda: 2 * sum(BYTES))
    assert load_originals(split).in_memory
    monkeypatch.setattr("noah.data.pixels.originals.available_memory", lambda: 2 * sum(BYTES) - 2)
    assert not load_originals(split).in_memory


def test_progress_is_told_up_to_the_end(split: FileSplit) -> None:
    told: list[tuple[int, int]] = []
    load_originals(split, progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (70, 70)


@pytest.mark.parametrize("limit", [None, sum(BYTES[:10])])
def test_unreadable_images_are_reported_together(split: FileSplit, limit: int | None) -> None:
    for index in (3, 60):
        split.paths[index].write_bytes(b"")
    with pytest.raises(UnreadableImageError) as caught:
        load_originals(split, memory_limit=limit)
    lines = caught.value.problem.splitlines()
    assert lines[0] == "2 of 70 images cannot be read:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == [str(split.paths[3]), str(split.paths[60])]
