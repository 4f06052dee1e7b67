from __future__ import annotations

from pathlib import Path

import pytest

from noah.data.dataset import Dataset
from noah.data.sources.registry import load_dataset
from noah.errors import DataError
from noah.settings.settings import ColumnSettings, DataSettings
from tests.noah.data.conftest import WriteImages
from tests.noah.data.sources.test_untouched_test_split import touched_paths


def load(folder: Path, classes: str | None = None, **columns: str) -> Dataset:
    return load_dataset(DataSettings(folder=str(folder), classes=classes, columns=ColumnSettings(**columns)), 0)


def write(folder: Path, count: int, write_images: WriteImages, first: str = "file_name", label: str = "label") -> None:
    write_images(folder, count)
    lines = [f"{first},{label}", *(f"{number}.png,{'ab'[number % 2]}" for number in range(count))]
    (folder / "metadata.csv").write_text("\n".join(lines))


def test_metadata_beside_the_images(tmp_path: Path, write_images: WriteImages) -> None:
    write(tmp_path / "pets", 20, write_images)
    dataset = load(tmp_path / "pets")
    assert dataset.name == "pets" and dataset.classes == ("a", "b")
    assert (len(dataset.train), len(dataset.validation), len(dataset.load_test())) == (12, 4, 4)
    assert any("file_name for the path, label for the label" in note for note in dataset.notes)


def test_metadata_in_json_lines(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, 10)
    lines = [f'{{"file_name": "{number}.png", "label": {number % 2}}}\n' for number in range(10)]
    (tmp_path / "metadata.jsonl").write_text("".join(lines))
    assert load(tmp_path).classes == ("0", "1")


def test_the_first_folder_of_a_path_may_be_its_split(tmp_path: Path, write_images: WriteImages) -> None:
    lines = ["file_name,label"]
    for part, count in (("train", 6), ("validation", 4), ("test", 2)):
        write_images(tmp_path / part, count)
        lines += [f"{part}/{number}.png,{'ab'[number % 2]}" for number in range(count)]
    (tmp_path / "metadata.csv").write_text("\n".join(lines))
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.validation), len(dataset.load_test())) == (6, 4, 2)
    assert any("The splits are the folders" in note for note in dataset.notes)


def test_each_split_with_its_metadata(tmp_path: Path, write_images: WriteImages) -> None:
    for part, count in (("Train", 6), ("dev", 4), ("test", 2)):
        write(tmp_path / part, count, write_images)
    with touched_paths() as paths:
        dataset = load(tmp_path)
    assert not [path for path in paths if path.startswith(str(tmp_path / "test"))]
    assert (len(dataset.train), len(dataset.validation)) == (6, 4)
    assert dataset.load_test().labels.tolist() == [0, 1]


def test_a_split_without_metadata_and_one_with_another_class(tmp_path: Path, write_images: WriteImages) -> None:
    write(tmp_path / "train", 6, write_images)
    write_images(tmp_path / "test", 1)
    with pytest.raises(DataError, match="test has no metadata, which other splits have"):
        load(tmp_path).load_test()
    (tmp_path / "test" / "metadata.csv").write_text("file_name,label\n0.png,yak\n")
    with pytest.raises(DataError, match="has a class that the training images lack: yak"):
        load(tmp_path).load_test()


def test_columns_by_other_names(tmp_path: Path, write_images: WriteImages) -> None:
    write(tmp_path, 10, write_images, first="picture", label="breed")
    assert load(tmp_path, path="picture", label="breed").classes == ("a", "b")


@pytest.mark.parametrize("text", ["file_name,text\n0.png,a cat\n", "id,label\n7,a\n"])
def test_metadata_without_paths_or_labels_leaves_the_folders_as_classes(
    tmp_path: Path, write_images: WriteImages, text: str
) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 5)
    (tmp_path / "metadata.csv").write_text(text)
    assert load(tmp_path).classes == ("cat", "dog")


def test_a_person_may_want_the_folders_all_the_same(tmp_path: Path, write_images: WriteImages) -> None:
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 5)
    (tmp_path / "metadata.csv").write_text("file_name,label\ncat/0.png,x\n")
    assert load(tmp_path, classes="top").classes == ("cat", "dog")


@pytest.mark.parametrize("beside", ["docs", "validation"])
def test_images_beside_the_metadata_of_a_split(tmp_path: Path, write_images: WriteImages, beside: str) -> None:
    """Whatever lies beside it: a folder of training images with its own metadata is never a class."""
    write(tmp_path / "train", 10, write_images)
    (tmp_path / "docs").mkdir()
    if beside == "validation":
        write(tmp_path / "validation", 4, write_images)
    dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.validation)) == ((10, 4) if beside == "validation" else (8, 2))
    assert f"Not used, because it lies beside {tmp_path / 'train'}: docs." in dataset.notes


def test_two_folders_of_one_split_are_refused(tmp_path: Path, write_images: WriteImages) -> None:
    for part in ("train", "val", "dev"):
        write(tmp_path / part, 6, write_images)
    with pytest.raises(DataError, match="more than one validation split: dev, val"):
        load(tmp_path)
