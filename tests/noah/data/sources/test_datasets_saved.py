from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noah.data.dataset import Dataset
from noah.data.sources.registry import load_dataset
from noah.errors import DataError, MissingPackageError, UnreadableImageError, UsageError
from noah.settings.settings import ColumnSettings, DataSettings
from tests.noah.data.sources.test_untouched_test_split import touched_paths

datasets = pytest.importorskip("datasets", reason="reads what the library datasets has written")


def load(folder: Path, **columns: str) -> Dataset:
    return load_dataset(DataSettings(folder=str(folder), columns=ColumnSettings(**columns)), 0)


def make(first: int, count: int, **more: list[Any]) -> Any:
    """Gray images whose grays are their numbers, of the classes zebra and ant in turn, in that order."""
    grays = range(first, first + count)
    columns = {
        "image": [Image.fromarray(np.full((6, 5, 3), gray, np.uint8)) for gray in grays],
        "label": [gray % 2 for gray in grays],
        **more,
    }
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["zebra", "ant", "never seen"])}
    rest = {name: datasets.Value("string") for name in more}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(**features, **rest))


def grays(split: Any) -> list[int]:
    return [split.open(index).getpixel((0, 0))[0] for index in range(len(split))]


def test_one_dataset_is_split(tmp_path: Path) -> None:
    make(0, 20).save_to_disk(tmp_path / "beasts")
    dataset = load(tmp_path / "beasts")
    assert dataset.name == "beasts" and dataset.classes == ("zebra", "ant")
    assert (len(dataset.train), len(dataset.validation), len(dataset.load_test())) == (12, 4, 4)
    assert [gray % 2 for gray in grays(dataset.train)] == dataset.train.labels.tolist()
    assert any("in the order of the dataset, from zebra to ant" in note for note in dataset.notes)


def test_a_column_of_splits_is_refused(tmp_path: Path) -> None:
    make(0, 20, fold=["train", "test"] * 10).save_to_disk(tmp_path / "beasts")
    with pytest.raises(
        UsageError, match=r"--columns split=fold does not apply to .*beasts, which is a dataset"
    ) as caught:
        load(tmp_path / "beasts", split="fold")
    assert caught.value.hint == "Leave it out; --columns takes path=NAME, label=NAME, group=NAME there."


def test_given_splits(tmp_path: Path) -> None:
    splits = {"train": make(0, 6), "validation": make(10, 4), "test": make(20, 2), "extra": make(30, 2)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "beasts")
    with touched_paths() as paths:
        dataset = load(tmp_path / "beasts")
    assert not [path for path in paths if path.startswith(str(tmp_path / "beasts" / "test"))]
    assert (grays(dataset.train), grays(dataset.validation)) == ([*range(6)], [*range(10, 14)])
    assert grays(dataset.load_test()) == [20, 21]
    assert any(note.endswith("say no split: extra.") for note in dataset.notes)


def test_columns_and_groups(tmp_path: Path) -> None:
    rows = make(0, 20, breed=[f"b{n % 4}" for n in range(20)], herd=[f"h{n // 4}" for n in range(20)])
    rows.save_to_disk(tmp_path)
    dataset = load(tmp_path, label="breed", group="herd")
    assert dataset.classes == ("b0", "b1", "b2", "b3")
    parts = [{gray // 4 for gray in grays(s)} for s in (dataset.train, dataset.validation, dataset.load_test())]
    assert sum(map(len, parts)) == 5 and all(parts)


def test_columns_that_are_not_there(tmp_path: Path) -> None:
    make(0, 12).rename_columns({"label": "kind", "image": "picture"}).save_to_disk(tmp_path)
    assert load(tmp_path).classes == ("zebra", "ant")
    with pytest.raises(DataError, match="no column breed; its columns are: picture, kind") as caught:
        load(tmp_path, label="breed")
    assert "--columns" in caught.value.hint
    with pytest.raises(DataError, match="no images in the column kind"):
        load(tmp_path, path="kind")


def test_secret_labels_and_missing_images(tmp_path: Path) -> None:
    rows = make(0, 12)
    hidden = datasets.Dataset.from_dict({"image": [None], "label": [-1]}, features=rows.features)
    datasets.DatasetDict(train=rows, test=hidden).save_to_disk(tmp_path / "secret")
    with pytest.raises(DataError, match="row 0: no label"):
        load(tmp_path / "secret").load_test()
    empty = datasets.Dataset.from_dict({"image": [None], "label": [1]}, features=rows.features)
    datasets.DatasetDict(train=rows, test=empty).save_to_disk(tmp_path / "empty")
    with pytest.raises(UnreadableImageError, match="empty/test/0: the dataset has no image here"):
        load(tmp_path / "empty").load_test().open(0)


def test_no_split_for_training(tmp_path: Path) -> None:
    datasets.DatasetDict(test=make(0, 4), validation=make(0, 4)).save_to_disk(tmp_path)
    with pytest.raises(DataError, match="no split for training; its splits are test, validation"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["state.json", "dataset_info.json", "data-00000-of-00001.arrow"])
def test_damaged_files(tmp_path: Path, name: str) -> None:
    make(0, 4).save_to_disk(tmp_path)
    (tmp_path / name).write_bytes(b"[")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path)


@pytest.mark.parametrize("text", ["[", "{}", '{"splits": ["../x"]}', '{"splits": [1]}'])
def test_a_damaged_list_of_splits(tmp_path: Path, text: str) -> None:
    (tmp_path / "dataset_dict.json").write_text(text)
    with pytest.raises(DataError, match="dataset_dict"):
        load(tmp_path)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(0, 4).save_to_disk(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingPackageError) as caught:
        load(tmp_path)
    assert caught.value.hint == "Type: pip install 'noah-prompt-search[datasets]'."


def test_empty_values_are_no_group(tmp_path: Path) -> None:
    patients = ["p", "q", "", " ", None, "r", "s", "t", "u", "v"]
    make(0, 20, patient=patients * 2).save_to_disk(tmp_path / "beasts")
    dataset = load(tmp_path / "beasts", group="patient")
    assert any("6 images are in no group" in note and "has no patient for them" in note for note in dataset.notes)
    assert any("13 groups, each on one side" in note for note in dataset.notes)  # 7 patients and 6 images


def test_labels_are_read_as_those_of_tables(tmp_path: Path) -> None:
    rows = make(0, 20, breed=["caf\u00e9", "cafe\u0301", " tea", "tea "] * 5)
    rows.save_to_disk(tmp_path / "texts")
    assert load(tmp_path / "texts", label="breed").classes == ("caf\u00e9", "tea")
    make(0, 4, breed=["a", "b", " ", "a"]).save_to_disk(tmp_path / "empty")
    with pytest.raises(DataError, match="row 2: no breed"):
        load(tmp_path / "empty", label="breed")


def test_names_of_classes_that_are_the_same_are_one_class_in_the_order_of_the_dataset(tmp_path: Path) -> None:
    names = [" zebra", "cafe\u0301", "zebra", "caf\u00e9", ""]
    rows = make(0, 20).remove_columns("label").add_column("label", [n % 4 for n in range(20)])
    rows = rows.cast_column("label", datasets.ClassLabel(names=names))
    rows.save_to_disk(tmp_path / "beasts")
    dataset = load(tmp_path / "beasts")
    assert dataset.classes == ("zebra", "caf\u00e9")
    assert [gray % 2 for gray in grays(dataset.train)] == dataset.train.labels.tolist()
    secret = rows.remove_columns("label").add_column("label", [*[n % 4 for n in range(19)], 4])
    secret.cast_column("label", datasets.ClassLabel(names=names)).save_to_disk(tmp_path / "unnamed")
    with pytest.raises(DataError, match="row 19: no label"):
        load(tmp_path / "unnamed")


@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_split_without_a_column_that_training_has_is_refused(tmp_path: Path, part: str) -> None:
    splits = {"train": make(0, 8, herd=list("abcdefgh")), part: make(10, 4)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "beasts")
    with pytest.raises(DataError, match=f"beasts {part} has no column herd, unlike the training images; its columns"):
        load(tmp_path / "beasts", group="herd").load_test()
    assert len(load(tmp_path / "beasts").load_test() if part == "test" else load(tmp_path / "beasts").validation) == 4
