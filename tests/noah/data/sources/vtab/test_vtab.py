from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from noah.data.sources.vtab.vtab import find_vtab, load_vtab
from noah.errors import DataError, DatasetNotFoundError
from tests.noah.data.conftest import WriteImages

SIZES = {"train800": 8, "val200": 4, "test": 6}


@pytest.fixture
def eurosat(tmp_path: Path, write_images: WriteImages) -> Path:
    """A small task of 10 classes, with fewer images than the real one."""
    root = tmp_path / "eurosat"
    for split, count in SIZES.items():
        write_images(root / "images" / split, count)
        lines = [f"images/{split}/{number}.png {number % 10}" for number in range(count)]
        (root / f"{split}.txt").write_text("\n".join(lines) + "\n")
    return root


def test_lists_become_splits(eurosat: Path) -> None:
    dataset = load_vtab("eurosat", eurosat)
    assert dataset.name == "eurosat" and dataset.classes == tuple("0123456789")
    assert [len(dataset.train), len(dataset.validation), len(dataset.load_test())] == [8, 4, 6]
    assert dataset.train.labels.tolist() == list(range(8))
    assert dataset.train.open(3).getpixel((0, 0)) == (3, 3, 3)
    assert dataset.validation.name(1) == str(eurosat / "images/val200/1.png")


def test_sizes_other_than_the_benchmarks_are_noted(eurosat: Path) -> None:
    notes = load_vtab("eurosat", eurosat).notes
    assert any("train800.txt lists 8 images, where VTAB-1k has 800" in note for note in notes)


def test_classes_without_a_training_image_are_warned_of(eurosat: Path) -> None:
    warning = "WARNING: 2 of 10 classes have no training image and cannot be learned: 8, 9."
    assert warning in load_vtab("eurosat", eurosat).notes
    lines = (eurosat / "train800.txt").read_text().splitlines()
    lines[:2] = [lines[0].rsplit(" ", 1)[0] + " 8", lines[1].rsplit(" ", 1)[0] + " 9"]
    more = "\n".join(lines) + "\n" + (eurosat / "val200.txt").read_text()
    (eurosat / "train800.txt").write_text(more)
    (eurosat / "val200.txt").write_text((eurosat / "test.txt").read_text())
    assert not any("WARNING" in note for note in load_vtab("eurosat", eurosat).notes)


def test_mark_windows_lines_blanks_and_spaces_do_no_harm(eurosat: Path) -> None:
    (eurosat / "images" / "train800" / "0.png").rename(eurosat / "images" / "a name.png")
    (eurosat / "train800.txt").write_bytes(b"\xef\xbb\xbfimages/a name.png 9\r\n\r\nimages/train800/1.png  1 \r\n\r\n")
    train = load_vtab("eurosat", eurosat).train
    assert train.labels.tolist() == [9, 1] and train.open(0).size == (5, 6)


def test_small_jpeg_images_are_warned_of(eurosat: Path) -> None:
    assert not any("JPEG" in note for note in load_vtab("eurosat", eurosat).notes)
    for path in (eurosat / "images" / "train800").iterdir():
        Image.open(path).save(path, format="JPEG")
    assert "JPEG files of 5 x 6 pixels" in load_vtab("eurosat", eurosat).notes[-1]


def test_class_names_come_from_their_file(eurosat: Path) -> None:
    (eurosat / "classes.txt").write_text("".join(f"class {number}\n" for number in range(10)))
    assert load_vtab("eurosat", eurosat).classes[3] == "class 3"
    (eurosat / "classes.txt").write_text("forest\nriver\n")
    with pytest.raises(DataError, match=r"classes\.txt holds 2 different names; eurosat has 10 classes"):
        load_vtab("eurosat", eurosat)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("images/train800/1.png", "is not of the form"),
        ("images/train800/1.png one", "is not of the form"),
        ("images/train800/1.png -1", "is not of the form"),
        ("images/train800/1.png 10", "label 10 is too large; eurosat has the 10 labels 0 to 9"),
        ("/etc/image.png 1", "leads out of the folder"),
        ("C:\\image.png 1", "leads out of the folder"),
        ("../other/image.png 1", "leads out of the folder"),
        ("./images/train800/0.png 1", "images/train800/0.png is listed already in line 1"),
    ],
)
def test_a_wrong_line_is_named_by_file_and_number(eurosat: Path, line: str, problem: str) -> None:
    path = eurosat / "train800.txt"
    path.write_text(f"images/train800/0.png 0\n{line}\n")
    with pytest.raises(DataError, match=re.escape(f"{path}, line 2: ") + ".*" + re.escape(problem)):
        load_vtab("eurosat", eurosat)


def test_missing_images_are_counted_and_the_first_named(eurosat: Path) -> None:
    shutil.rmtree(eurosat / "images" / "train800")
    with pytest.raises(DataError, match=r"lists 8 images that do not exist .*train800/0\.png \(line 1\), .*, \.\.\."):
        load_vtab("eurosat", eurosat)


def test_missing_test_images_are_told_when_the_test_split_is_asked_for(eurosat: Path) -> None:
    (eurosat / "images" / "test" / "5.png").unlink()
    dataset = load_vtab("eurosat", eurosat)
    with pytest.raises(DataError, match=r"test\.txt lists 1 image that does .*images/test/5\.png \(line 6\)"):
        dataset.load_test()


@pytest.mark.parametrize("missing", ["train800.txt", "val200.txt"])
def test_a_missing_list_is_named(eurosat: Path, missing: str) -> None:
    (eurosat / missing).unlink()
    with pytest.raises(DataError, match=f"{missing} is missing") as caught:
        load_vtab("eurosat", eurosat)
    assert "train800.txt, val200.txt and test.txt" in caught.value.hint


def test_a_missing_test_list_is_told_when_it_is_asked_for(eurosat: Path) -> None:
    (eurosat / "test.txt").unlink()
    dataset = load_vtab("eurosat", eurosat)
    with pytest.raises(DataError, match=r"test\.txt is missing"):
        dataset.load_test()


def test_empty_and_binary_lists(eurosat: Path) -> None:
    (eurosat / "val200.txt").write_text("\n")
    with pytest.raises(DataError, match=r"val200\.txt lists no image"):
        load_vtab("eurosat", eurosat)
    (eurosat / "val200.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"val200\.txt is not a UTF-8 text file"):
        load_vtab("eurosat", eurosat)
    (eurosat / "val200.txt").unlink()
    (eurosat / "val200.txt").mkdir()
    with pytest.raises(DataError, match=r"Cannot read .*val200\.txt: is a directory"):
        load_vtab("eurosat", eurosat)


def test_an_image_may_not_train_and_validate(eurosat: Path) -> None:
    (eurosat / "val200.txt").write_text("images/train800/2.png 2\n")
    with pytest.raises(DataError, match=r"lists 1 image that train800\.txt lists too, as .*train800/2\.png"):
        load_vtab("eurosat", eurosat)


def test_an_unknown_task(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="VTAB-1k has no task imagenet"):
        load_vtab("imagenet", tmp_path)


@pytest.mark.parametrize("parent", [".", "vtab-1k", "vtab-1k/vtab-1k"])
@pytest.mark.parametrize("folder", ["oxford_iiit_pet", "pets"])
@pytest.mark.parametrize("file", ["train800.txt", "train800val200.txt"])
def test_folders_are_found_at_the_usual_places(tmp_path: Path, parent: str, folder: str, file: str) -> None:
    place = tmp_path / parent / folder
    place.mkdir(parents=True)
    assert find_vtab("pet", tmp_path) is None
    (place / file).touch()
    assert find_vtab("pet", tmp_path) == place
