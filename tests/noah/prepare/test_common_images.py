"""Images that splits have in common: warned of and listed when a run begins and when it is tested, copies refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noah.errors import DataError, RunError
from noah.prepare.common_images import HASHES, LISTED, TestImages
from noah.prepare.context import Materials, prepare
from noah.prepare.new_run import start_run
from noah.runs.folder import Run
from noah.settings.layers import Layer, resolve
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder
from tests.opened import opened_paths

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def photos(photo_folder: Path, tmp_path: Path) -> Path:
    """A folder of one's own with train, val and test."""
    return Path(shutil.copytree(photo_folder, tmp_path / "photos"))


def start(
    tiny_settings: TinySettings, photos: Path, subnet: str | None = None, **changes: Any
) -> tuple[Run, Materials, Recorder]:
    values = tiny_settings(
        {"data.folder": str(photos), **{key.replace("__", "."): value for key, value in changes.items()}}
    )
    settings, origins = resolve([Layer(source="test", values=values)])
    listener = Recorder()
    run, materials = start_run(photos.parent / "runs", settings, origins, listener, name=None, subnet=subnet)
    return run, materials, listener


def measure(run: Run, changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Open the test images as `noah eval` does; the network gets those of even numbers right."""
    layer = [Layer(source="test", values={"data": dict(changes)})] if changes else []
    materials = prepare(run.settings(layer), Recorder(), run=run)
    test = TestImages(run, materials, materials.dataset.load_test())
    for index in range(len(test.split)):
        test.split.open(index)
    return test.compare(np.arange(len(test.split)) % 2 == 0)


def copy(photos: Path, one: str, other: str, **options: Any) -> None:
    """Save one image as another: the same pixels, in another file."""
    image = Image.open(photos / one)
    if "size" in options:
        image = image.resize(options.pop("size"))
    image.save(photos / other, **options)


def warnings(listener: Recorder) -> list[str]:
    return [line for line in listener.said if line.startswith("WARNING")]


def test_without_common_images_nothing_is_said_and_hashes_are_kept(tiny_settings: TinySettings, photos: Path) -> None:
    with opened_paths() as opened:
        run, _, listener = start(tiny_settings, photos)
    assert not [path for path in opened if path.is_relative_to(photos / "test")]
    assert not warnings(listener) and not run.path(*LISTED).exists()
    assert run.description()["duplicates"] == {"training, validation": {"exact": 0}}
    assert np.load(run.path(*HASHES)).shape == (1, 36 + 18)
    seal = json.loads(run.path("seals", "start.json").read_text())
    assert "data/hashes.npy" in seal["files"]
    assert measure(run) == {"checked": True, "exact": 0}


def test_common_images_are_counted_listed_and_warned_of(tiny_settings: TinySettings, photos: Path) -> None:
    copy(photos, "train/circle/03.png", "val/circle/again.bmp")
    copy(photos, "train/circle/03.png", "val/square/wrong.png", compress_level=0)
    run, _, listener = start(tiny_settings, photos)
    (told,) = warnings(listener)
    assert "2 of 20 validation images are training images, too" in told
    one = str(photos / "train/circle/03.png")
    names = [str(photos / "val" / name) for name in ("circle/again.bmp", "square/wrong.png")]
    assert f"{names[0]}, which is {one}" in told
    assert run.description()["duplicates"] == {"training, validation": {"exact": 2}}
    (listed,) = json.loads(run.path(*LISTED).read_text())
    assert listed == {"splits": ["training", "validation"], "exact": [[one, name] for name in names], "near": None}
    assert "data/duplicates.json" in json.loads(run.path("seals", "start.json").read_text())["files"]


def test_nearly_equal_images(tiny_settings: TinySettings, photos: Path) -> None:
    copy(photos, "train/circle/03.png", "val/circle/small.jpg", size=(80, 64), quality=95)
    copy(photos, "val/square/02.png", "test/square/large.jpg", size=(80, 64), quality=95)
    run, _, listener = start(tiny_settings, photos, data__near_duplicates=True)
    (told,) = warnings(listener)
    assert "1 of 19 validation images are nearly the same as training images" in told
    assert run.description()["duplicates"] == {"training, validation": {"exact": 0, "near": 1}}
    found = measure(run)
    assert (found["exact"], found["near"]) == (0, 1)
    assert found["images"] == [[str(photos / "val/square/02.png"), str(photos / "test/square/large.jpg")]]


@pytest.mark.parametrize("more", [False, True])
def test_a_validation_folder_that_is_a_copy_is_refused(tiny_settings: TinySettings, photos: Path, more: bool) -> None:
    """Of all training images, or of some."""
    shutil.rmtree(photos / "val")
    shutil.copytree(photos / "train", photos / "val")
    if more:
        for path in (photos / "val").glob("*/*5.png"):
            path.unlink()
    with pytest.raises(DataError, match=r"The validation images are copies: each of them is also among") as caught:
        start(tiny_settings, photos)
    assert "--allow-copies" in caught.value.hint
    assert not (photos.parent / "runs").exists()
    run, _, listener = start(tiny_settings, photos, data__allow_copies=True)
    assert len(warnings(listener)) == 1 and run.path(*LISTED).is_file()


def test_a_training_folder_that_is_part_of_another_is_refused(tiny_settings: TinySettings, photos: Path) -> None:
    for name in ("circle", "square", "stripes"):
        for path in (photos / "train" / name).iterdir():
            shutil.copy(path, photos / "val" / name / f"train{path.name}")
    with pytest.raises(DataError, match="The training images are copies: each of them is also among the validation"):
        start(tiny_settings, photos)


def test_a_subnet_that_is_given_trains_on_both(tiny_settings: TinySettings, photos: Path) -> None:
    """So validation measures nothing; but the images that are held out do."""
    copy(photos, "train/circle/03.png", "val/circle/again.png")
    run, _, listener = start(tiny_settings, photos, subnet="lora:2")
    assert run.description()["duplicates"] == {} and not warnings(listener)
    copy(photos, "val/square/02.png", "test/square/again.png")
    assert measure(run)["images"] == [[str(photos / "val/square/02.png"), str(photos / "test/square/again.png")]]
    run, _, _ = start(tiny_settings, photos, subnet="lora:2", retrain__hold_out=0.3)
    assert set(run.description()["duplicates"]) == {"training, held-out", "training, gate", "held-out, gate"}


def test_test_images_that_were_trained_on_are_counted_and_left_out(tiny_settings: TinySettings, photos: Path) -> None:
    """The first test image is one of those that the network gets right."""
    copy(photos, "train/circle/03.png", "test/circle/00.png")
    run, _, _ = start(tiny_settings, photos)
    found = measure(run)
    assert found == {
        "checked": True,
        "exact": 1,
        "accuracy_without": 8 / 17,
        "images": [[str(photos / "train/circle/03.png"), str(photos / "test/circle/00.png")]],
    }


def test_a_test_folder_that_is_a_copy_is_refused(tiny_settings: TinySettings, photos: Path) -> None:
    shutil.rmtree(photos / "test")
    shutil.copytree(photos / "val", photos / "test")
    run, _, _ = start(tiny_settings, photos)
    with pytest.raises(DataError, match="The test images are copies: each of them is also among the training and val"):
        measure(run)
    found = measure(run, {"allow_copies": True})
    assert (found["exact"], found["accuracy_without"], len(found["images"])) == (18, None, 18)


def test_groups_on_both_sides_are_counted(tiny_settings: TinySettings, photos: Path) -> None:
    """The number of a photograph names a group, so that those in test are in train as well, but not those in val."""
    for number, path in enumerate(sorted((photos / "val").glob("*/*.png"))):
        path.rename(path.with_name(f"{100 + number}.png"))
    run, _, _ = start(tiny_settings, photos, data__groups=r"(\d+)\.png")
    assert measure(run) == {"checked": True, "exact": 0, "groups": 6}


def test_a_run_without_hashes_says_so(tiny_settings: TinySettings, photos: Path) -> None:
    run, _, _ = start(tiny_settings, photos)
    path = run.path(*HASHES)
    np.save(path, np.zeros((1, 7), np.uint64))
    assert measure(run) == {"checked": False, "reason": "the run's hashes are not those of its images"}
    path.unlink()
    assert "kept no hashes" in measure(run)["reason"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY",
        b"\x93NUMPY\x01\x00\x10\x00{'descr': 'O'}   ",
        b"\x93NUMPY\x01\x00\x14\x00{'descr': ('<u8', 'a'",
        b"\x93NUMPY\x01\x00\x04\x00\n  )",
        b"x" * 99,
    ],
)
def test_damaged_hashes_are_told(tiny_settings: TinySettings, photos: Path, content: bytes) -> None:
    run, _, _ = start(tiny_settings, photos)
    run.path(*HASHES).write_bytes(content)
    with pytest.raises(RunError, match=r"hashes\.npy is damaged"):
        measure(run)
