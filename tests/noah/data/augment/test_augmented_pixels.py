from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noah.data.augment import augmented_pixels
from noah.data.augment.augmented_pixels import AugmentedPixels, Draw, choose_workers, load_augmented
from noah.data.augment.image import Augmentation
from noah.data.pixels.pixels import load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import ArraySplit, FileSplit, Split
from noah.errors import UnreadableImageError
from noah.hardware.cores import Cores
from noah.settings.training_settings import AugmentationSettings
from tests.commands import run_python
from tests.noah.global_random_state import set_global_state, unmoved_global_state

SMALL = Preprocessing(12, 10, "crop", 0.8, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
CROPPED = AugmentationSettings(random_resized_crop=(0.2, 1), horizontal_flip=0.5, randaugment="rand-m9-mstd0.5-inc1")
UNCROPPED = AugmentationSettings(horizontal_flip=0.5, randaugment="rand-m9-mstd0.5-inc1", color_jitter=0.4)
SEED = (0, 1, 1)


@pytest.fixture
def split() -> ArraySplit:
    images = np.random.default_rng(0).integers(0, 256, (40, 16, 20, 3), np.uint8)
    return ArraySplit(images, np.arange(40) % 7, "noise")


def load(split: Split, settings: AugmentationSettings, workers: int = 0, limit: int | None = None) -> AugmentedPixels:
    return load_augmented(split, SMALL, Augmentation(settings, SMALL), workers=workers, memory_limit=limit)


def draws(*batches: list[int], seed: tuple[int, ...] = SEED) -> list[Draw]:
    return [(np.array(batch), seed) for batch in batches]


@pytest.mark.parametrize("settings", [CROPPED, UNCROPPED])
@pytest.mark.parametrize("limit", [None, 0, 7 * 960, 40 * 360])
def test_each_image_is_augmented_by_its_own_seed(
    split: ArraySplit, settings: AugmentationSettings, limit: int | None
) -> None:
    pixels, augment = load(split, settings, limit=limit), Augmentation(settings, SMALL)
    assert len(pixels) == 40 and np.array_equal(pixels.labels, split.labels)
    (batch,) = pixels.batches(draws([39, 0, 7, 7]))
    assert (batch.shape, batch.dtype) == ((4, 12, 10, 3), np.uint8)
    resized = load_pixels(split, SMALL)
    for place, index in enumerate([39, 0, 7, 7]):
        image = split.open(index) if augment.crops else Image.fromarray(resized.batch(np.array([index]))[0])
        assert np.array_equal(batch[place], augment.apply(image, (*SEED, 1 + index)))


def test_an_image_depends_on_its_seed_and_not_on_its_neighbors(split: ArraySplit) -> None:
    pixels = load(split, CROPPED)
    alone, among, later = pixels.batches([*draws([5], [9, 5, 3]), *draws([5], seed=(0, 2, 1))])
    assert np.array_equal(alone[0], among[1])
    assert not np.array_equal(alone[0], later[0])


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
@pytest.mark.parametrize("settings", [CROPPED, UNCROPPED])
@pytest.mark.parametrize("workers", [1, 2])
def test_the_number_of_processes_has_no_influence(
    split: ArraySplit, settings: AugmentationSettings, workers: int
) -> None:
    asked = draws(*([index, 39 - index, 3] for index in range(12)))
    expected = list(load(split, settings).batches(asked))
    set_global_state(4)
    with unmoved_global_state():
        found = list(load(split, settings, workers, limit=5000).batches(iter(asked)))
    assert len(found) == 12
    assert all(np.array_equal(first, second) for first, second in zip(found, expected, strict=True))
    assert all(batch.flags.writeable for batch in found)


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_closing_ends_the_processes(split: ArraySplit) -> None:
    before = set(multiprocessing.active_children())
    batches = load(split, CROPPED, workers=2).batches(draws(*([0, 1] for _ in range(50))))
    assert set(multiprocessing.active_children()) == before  # none are started before a batch is asked for
    next(batches)
    assert len(set(multiprocessing.active_children()) - before) == 2
    batches.close()
    assert set(multiprocessing.active_children()) == before


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_an_interrupt_is_left_to_this_process(split: ArraySplit) -> None:
    asked = draws(*([index, 3] for index in range(20)))
    before = set(multiprocessing.active_children())
    batches = load(split, CROPPED, workers=2).batches(asked)
    first = [next(batches), next(batches)]  # one of each process: both have begun
    for process in set(multiprocessing.active_children()) - before:
        os.kill(process.pid or 0, signal.SIGINT)  # as a terminal does
    assert all(map(np.array_equal, [*first, *batches], load(split, CROPPED).batches(asked)))


KILLED = """
import multiprocessing, os, signal
import numpy as np
from noah.data.augment.image import Augmentation
from noah.data.augment.augmented_pixels import load_augmented
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import ArraySplit
from noah.settings.training_settings import AugmentationSettings

size = Preprocessing(100, 100, "squash", 1.0, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
split = ArraySplit(np.zeros((40, 20, 20, 3), np.uint8), np.zeros(40, np.int64), "black")
augmentation = Augmentation(AugmentationSettings(random_resized_crop=(0.2, 1)), size)
batches = load_augmented(split, size, augmentation, workers=2).batches((np.arange(40), (1, n)) for n in range(1, 99))
next(batches)
print(*(process.pid for process in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
def test_the_processes_end_when_this_one_is_killed(tmp_path: Path) -> None:
    """Batches of 1.2 MB do not fit into a pipe that nobody reads."""
    outcome = run_python(KILLED, folder=tmp_path)
    assert outcome.code == -signal.SIGKILL, outcome.err
    processes = [int(word) for word in outcome.out.split()]
    assert len(processes) == 2
    waited_until = time.monotonic() + 4
    while any(map(lives, processes)) and time.monotonic() < waited_until:
        time.sleep(0.05)
    assert not any(map(lives, processes))


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux only")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("settings", [CROPPED, UNCROPPED])
def test_an_image_that_cannot_be_read_is_told_as_ever(
    tmp_path: Path, settings: AugmentationSettings, workers: int
) -> None:
    paths = tuple(tmp_path / f"{number}.png" for number in range(6))
    for path in paths:
        Image.new("RGB", (8, 8)).save(path)
    paths[4].write_bytes(b"")
    broken = FileSplit(paths, np.zeros(6, np.int64))
    with pytest.raises(UnreadableImageError, match="1 of 6 images cannot be read"):
        load(broken, settings)
    batches = load(broken, settings, workers, limit=0).batches(draws([0, 1], [5, 4, 3], [2, 2]))
    assert len(next(batches)) == 2
    with pytest.raises(UnreadableImageError, match=r"^1 of 3 images cannot be read:\n .*4\.png: it is in no") as caught:
        next(batches)
    assert len(str(caught.value).splitlines()) == 3 and "remove them" in caught.value.hint


def test_where_the_images_are_held_is_told(split: ArraySplit) -> None:
    assert load(split, CROPPED).in_memory and load(split, UNCROPPED).in_memory
    assert "their own sizes" in load(split, CROPPED).reason
    assert "10 x 12 pixels" in load(split, UNCROPPED).reason
    assert not load(split, CROPPED, limit=1000).in_memory and not load(split, UNCROPPED, limit=1000).in_memory


@pytest.mark.parametrize(
    ("asked", "device", "platform", "cores", "workers", "reason"),
    [
        (None, "cpu", "linux", 64, 0, "on a CPU nearly all the time goes into the network"),
        (None, "cuda", "linux", 8, 7, "so that the GPU does not wait; 8 cores"),
        (None, "cuda", "linux", 64, 16, "so that the GPU does not wait; 64 cores"),
        (None, "cuda", "linux", 1, 1, "so that the GPU does not wait; 1 core"),
        (None, "cuda", "win32", 8, 0, "other processes would need copies of the images on this system"),
        (None, "mps", "darwin", 8, 0, "other processes would need copies of the images on this system"),
        (3, "cpu", "linux", 2, 3, "as set"),
        (0, "cuda", "linux", 8, 0, "as set"),
    ],
)
def test_processes_are_chosen_where_a_gpu_would_wait(
    monkeypatch: pytest.MonkeyPatch,
    asked: int | None,
    device: str,
    platform: str,
    cores: int,
    workers: int,
    reason: str,
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(augmented_pixels, "usable_cores", lambda: Cores(cores, "as the test says"))
    found, told = choose_workers(asked, device)
    assert found == workers
    assert told == reason
