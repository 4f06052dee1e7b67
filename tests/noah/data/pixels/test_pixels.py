from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noah.data.pixels.pixels import load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import ArraySplit, FileSplit
from noah.errors import UnreadableImageError

SMALL = Preprocessing(4, 6, "squash", 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BYTES_PER_IMAGE = 4 * 6 * 3


@pytest.fixture
def split() -> ArraySplit:
    images = np.random.default_rng(0).integers(0, 256, (300, 8, 8, 3), np.uint8)
    return ArraySplit(images, np.arange(300) % 7, "noise")


@pytest.mark.parametrize("limit", [None, 300 * BYTES_PER_IMAGE, 300 * BYTES_PER_IMAGE - 1])
def test_batches_are_the_same_in_memory_and_on_demand(split: ArraySplit, limit: int | None) -> None:
    pixels = load_pixels(split, SMALL, memory_limit=limit)
    assert pixels.in_memory == (limit != 300 * BYTES_PER_IMAGE - 1)
    indices = np.array([299, 3, 3, 0])
    batch = pixels.batch(indices)
    assert batch.shape == (4, 4, 6, 3) and batch.dtype == np.uint8
    assert np.array_equal(batch, np.stack([SMALL.pixels(split.open(int(index))) for index in indices]))
    batch[:] = 0
    assert pixels.batch(indices).any()
    assert len(pixels) == 300 and pixels.name(12) == "noise/12" and np.array_equal(pixels.labels, split.labels)


def test_the_reason_has_the_sizes(split: ArraySplit) -> None:
    held = load_pixels(split, SMALL, memory_limit=2**20).reason
    assert held == (
        "300 images of 6 x 4 pixels need 21 KiB, within the 1 MiB that they may take: "
        "they are decoded once and held in memory."
    )
    assert "more than the 10 KiB that they may take" in load_pixels(split, SMALL, memory_limit=10 * 2**10).reason


def test_the_default_limit_is_half_of_what_is_free(split: ArraySplit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noah.data.pixels.pixels.available_memory", lambda: 2 * 300 * BYTES_PER_IMAGE)
    assert load_pixels(split, SMALL).in_memory
    monkeypatch.setattr("noah.data.pixels.pixels.available_memory", lambda: 2 * 300 * BYTES_PER_IMAGE - 2)
    assert not load_pixels(split, SMALL).in_memory


def test_progress_is_told_up_to_the_end(split: ArraySplit) -> None:
    told: list[tuple[int, int]] = []
    load_pixels(split, SMALL, progress=lambda done, total: told.append((done, total)))
    assert told == [(256, 300), (300, 300)]


def test_unreadable_images_are_reported_together(tmp_path: Path) -> None:
    paths = tuple(tmp_path / f"{number:03}.png" for number in range(300))
    for number, path in enumerate(paths):
        if number % 40 == 7:
            path.write_bytes(b"")
        else:
            Image.new("RGB", (3, 3)).save(path)
    paths[287].unlink()
    broken = FileSplit(paths, np.zeros(300, np.int64))
    with pytest.raises(UnreadableImageError) as caught:
        load_pixels(broken, SMALL)
    lines = caught.value.problem.splitlines()
    assert lines[0] == "8 of 300 images cannot be read:"
    assert lines[1].startswith(f"  {paths[7]}: it is in no image format")
    assert [line.split(":")[0].strip() for line in lines[1:6]] == [str(paths[n]) for n in (7, 47, 87, 127, 167)]
    assert lines[6:] == ["  and 3 more"] and "remove them" in caught.value.hint

    pixels = load_pixels(broken, SMALL, memory_limit=0)
    assert pixels.batch(np.array([0, 1])).shape[0] == 2
    with pytest.raises(UnreadableImageError, match=r"1 of 2 images cannot be read:\n .*287\.png: no such file"):
        pixels.batch(np.array([0, 287]))


def test_an_image_that_cannot_be_resized_is_named() -> None:
    needle = ArraySplit(np.zeros((1, 1, 30_000_000), np.uint8), np.zeros(1, np.int64), "needle")
    crop = Preprocessing(4, 4, "crop", 1.0, "nearest", SMALL.mean, SMALL.std)
    with pytest.raises(UnreadableImageError, match="needle/0: An image of 30000000 x 1 pixels is too long and thin"):
        load_pixels(needle, crop)
