"""The beginning of a run looks at every image, decodes it once, and keeps what fits; damaged ones begin no run."""

from __future__ import annotations

import csv
import pickle
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import PIL.Image
import pytest
from PIL.Image import Image

import noah.data.split as split_module
from noah.data.decode import open_image
from noah.data.decoding import Decoding
from noah.data.pixels import first_reading, originals, pixels
from noah.errors import UnreadableImageError
from noah.hardware.processes import Processes
from noah.prepare.context import Materials, check_same_data, look_at_images, prepare
from noah.prepare.new_run import start_run
from noah.progress import Silent
from noah.runs.folder import Run
from noah.runs.seals import START, read_seal
from noah.settings.layers import Layer, resolve
from noah.stages.retrain_stage import retrain
from noah.stages.search_stage import search
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, content

pytestmark = pytest.mark.usefixtures("one_thread")

T = TypeVar("T")
CROPS = {"random_resized_crop": [0.5, 1.0]}


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was decoded."""
    counts: Counter[str] = Counter()

    def counting(source: Path, decoding: Decoding) -> Image:
        counts[str(source)] += 1
        return open_image(source, decoding)

    monkeypatch.setattr(split_module, "open_image", counting)
    return counts


def begin(root: Path, values: dict[str, Any], subnet: str | None = None) -> tuple[Run, Materials]:
    settings, origins = resolve([Layer(source="test", values=values)])
    return start_run(root, settings, origins, Silent(), name="first", subnet=subnet)


def short_of_memory(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    for module in (first_reading, originals, pixels):
        monkeypatch.setattr(module, "available_memory", lambda: free)


@pytest.mark.parametrize(
    "changes",
    [{}, {"supernet.augmentation": {"horizontal_flip": 0.5}}, {"supernet.augmentation": CROPS}],
    ids=["plain", "flips", "crops"],
)
def test_a_search_decodes_each_image_once(
    tiny_settings: TinySettings, tmp_path: Path, decoded: Counter[str], changes: dict[str, Any]
) -> None:
    run, materials = begin(tmp_path, tiny_settings(changes))
    assert (len(decoded), set(decoded.values())) == (54, {1})
    listener = Recorder()
    search(run, materials, listener)
    assert (len(decoded), set(decoded.values())) == (54, {1})
    assert "decoding validation images" not in listener.bars


@pytest.mark.parametrize("augmentation", [{}, CROPS], ids=["plain", "crops"])
def test_the_training_of_a_given_subnet_does_so_too(
    tiny_settings: TinySettings, tmp_path: Path, decoded: Counter[str], augmentation: dict[str, Any]
) -> None:
    run, materials = begin(tmp_path, tiny_settings({"retrain.augmentation": augmentation}), "lora:8")
    retrain(run, materials, Silent())
    assert (len(decoded), set(decoded.values())) == (54, {1})


@pytest.mark.parametrize("augmentation", [{}, CROPS], ids=["plain", "crops"])
def test_what_does_not_fit_is_decoded_anew_and_the_result_is_the_same(
    tiny_settings: TinySettings,
    tmp_path: Path,
    decoded: Counter[str],
    augmentation: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    values = tiny_settings({"supernet.augmentation": augmentation})
    contents = []
    for name, free in (("plenty", 10**9), ("short", 40_000)):
        with monkeypatch.context() as patch:
            short_of_memory(patch, free)
            run, materials = begin(tmp_path / name, values)
            search(run, materials, Silent())
            contents.append(content(run))
        assert (max(decoded.values()) > 1) == (name == "short")
    assert contents[0] == contents[1]


def test_a_stage_of_its_own_reads_the_same_pixels(tiny_settings: TinySettings, tmp_path: Path) -> None:
    _, materials = begin(tmp_path, tiny_settings())
    for split in (materials.dataset.train, materials.dataset.validation):
        held = materials.pixels(split, "some", Silent())
        assert held.memory is not None
        anew = split_module.select(split, np.arange(len(split)))
        np.testing.assert_array_equal(held.memory, materials.pixels(anew, "some", Silent()).memory)


@pytest.mark.parametrize("subnet", [None, "lora:8"])
@pytest.mark.parametrize("augmentation", [{}, CROPS], ids=["plain", "crops"])
def test_damaged_images_of_all_parts_are_told_together_before_there_is_a_run(
    tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path, subnet: str | None, augmentation: dict[str, Any]
) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    broken = [sorted((folder / part / "circle").iterdir())[1] for part in ("train", "val")]
    for path in broken:
        path.write_bytes(b"no image")
    changes = {f"{stage}.augmentation": augmentation for stage in ("supernet", "retrain")}
    with pytest.raises(UnreadableImageError) as caught:
        begin(tmp_path / "runs", tiny_settings({**changes, "data.folder": str(folder)}), subnet)
    first, *lines = caught.value.problem.splitlines()
    assert first == "2 of 54 images cannot be read, which is 3.7 %; up to 1 % may be left out:"
    assert [line.strip().partition(": ")[0] for line in lines] == list(map(str, broken))
    listing = tmp_path / "runs" / "photos-damaged.csv"
    assert str(listing) in caught.value.hint and list((tmp_path / "runs").iterdir()) == [listing]
    with listing.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["split"], row["file"], row["done"]) for row in rows] == [
        ("train", str(broken[0]), "refused"),
        ("validation", str(broken[1]), "refused"),
    ]


def with_one_of_each(folder: Path) -> tuple[Path, Path]:
    """Make one training image unreadable, and take the end from another."""
    lost, cut = sorted((folder / "train" / "circle").iterdir())[:2]
    with PIL.Image.open(cut) as image:
        image.convert("RGB").resize((200, 200)).save(cut, "JPEG")
    lost.write_bytes(b"no image")
    cut.write_bytes(cut.read_bytes()[:-1000])
    return lost, cut


@pytest.mark.parametrize(
    ("damaged", "left_out", "repaired"), [("skip", 2, 0), (None, 1, 1), ("stop", None, 0), ("repair", None, 0)]
)
def test_what_is_done_about_damaged_images(
    tiny_settings: TinySettings,
    photo_folder: Path,
    tmp_path: Path,
    damaged: str | None,
    left_out: int | None,
    repaired: int,
) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    lost, cut = with_one_of_each(folder)
    whole = sum(1 for _ in (folder / "train").rglob("*.*"))
    values = tiny_settings({"data.folder": str(folder), "data.damaged": damaged, "data.damaged_share": 0.05})
    if left_out is None:
        with pytest.raises(UnreadableImageError, match="images cannot be read:"):
            begin(tmp_path / "runs", values)
        return
    run, materials = begin(tmp_path / "runs", values)
    trained = [materials.dataset.train.name(index) for index in range(len(materials.dataset.train))]
    assert str(lost) not in trained and (str(cut) in trained) == bool(repaired)
    assert len(trained) == run.description()["data"]["train"] == whole - left_out
    with run.path("damaged.csv").open(newline="") as file:
        listed = [(row["file"], row["done"]) for row in csv.DictReader(file)]
    assert listed == [(str(lost), "left out"), (str(cut), "repaired" if repaired else "left out")]
    assert "damaged.csv" in {file.path for file in read_seal(run, START)}
    again = prepare(run.settings(), Silent(), run=run)
    check_same_data(run, again)
    assert [again.dataset.train.name(index) for index in range(len(again.dataset.train))] == trained
    for index in range(len(trained)):
        np.testing.assert_array_equal(again.dataset.train.open(index), materials.dataset.train.open(index))


class Connected(Processes):
    """Processes of which one runs after the other; what the first sends is kept for the others."""

    sent: bytes

    def of_first(self, value: Callable[[], T]) -> T:
        if self.is_first:
            type(self).sent = pickle.dumps(value())
        received: T = pickle.loads(type(self).sent)  # noqa: S301  # what this test has written
        return received


def test_of_several_processes_the_first_settles_which_images_are_left_out(
    tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    lost, cut = with_one_of_each(folder)
    values = tiny_settings({"data.folder": str(folder), "data.damaged_share": 0.05})
    settings, _ = resolve([Layer(source="test", values=values)])
    prepared = prepare(settings, Silent())
    seen = []
    for rank in range(2):
        hardware = replace(prepared.hardware, processes=Connected(rank, 2, rank, 2))
        materials = look_at_images(replace(prepared, hardware=hardware), Silent(), tmp_path)
        train = materials.dataset.train
        seen.append(([train.name(index) for index in range(len(train))], materials.intake))
        next(path for path in sorted((folder / "train").rglob("*.*")) if path not in (lost, cut)).unlink()  # a moment
    assert seen[0] == seen[1] and str(lost) not in seen[0][0]


def test_looking_at_images_and_decoding_them_have_titles_of_their_own(
    tiny_settings: TinySettings, tmp_path: Path
) -> None:
    settings, origins = resolve([Layer(source="test", values=tiny_settings())])
    listener = Recorder()
    start_run(tmp_path, settings, origins, listener, name="first")
    assert {"checking training and validation images", "decoding training and validation images"} <= set(listener.bars)
