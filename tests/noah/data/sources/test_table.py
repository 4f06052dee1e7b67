from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noah.data.dataset import Dataset, class_counts
from noah.data.sources.division import _joined
from noah.data.sources.registry import load_dataset
from noah.data.split import Split
from noah.errors import DataError, DatasetNotFoundError, NoahError, UsageError
from noah.settings.settings import ColumnSettings, DataSettings
from tests.noah.data.conftest import WriteImages


def load(path: Path, seed: int = 0, **columns: str) -> Dataset:
    return load_dataset(DataSettings(folder=str(path), columns=ColumnSettings(**columns)), seed)


def write(folder: Path, *lines: str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def listed(count: int, extra: str = "") -> list[str]:
    """Rows for images/0.png and on, of the classes a and b in turn."""
    return [f"images/{number}.png,{'ab'[number % 2]}{extra}" for number in range(count)]


def names(split: Split) -> set[str]:
    return {Path(split.name(index)).name for index in range(len(split))}


def test_images_are_split_class_by_class(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "photos" / "images", 20)
    dataset = load(write(tmp_path / "photos", "path,label", *listed(20)))
    assert dataset.name == "photos-labels" and dataset.classes == ("a", "b")
    parts = (dataset.train, dataset.validation, dataset.load_test())
    counts = [class_counts(split, dataset.classes) for split in parts]
    assert counts == [{"a": 6, "b": 6}, {"a": 2, "b": 2}, {"a": 2, "b": 2}]
    for split in parts:
        for index in range(len(split)):
            assert int(Path(split.name(index)).stem) % 2 == split.labels[index]
            assert split.open(index).size == (5, 6)
    notes = "\n".join(dataset.notes)
    assert "path for the path, label for the label" in notes and "seed 0 splits its 20 images class by class" in notes


@pytest.mark.parametrize("sign", ["|", ";", ", "])
def test_labels_that_look_like_several_in_one_are_told(tmp_path: Path, write_images: WriteImages, sign: str) -> None:
    write_images(tmp_path / "images", 30)
    labels = ("cat", "dog", f"cat{sign}dog")
    lines = [f'images/{number}.png,"{labels[number % 3]}"' for number in range(30)]
    notes = load(write(tmp_path, "path,label", *lines)).notes
    assert any(f"noah gives each image one label, so cat{sign}dog is a class of its own" in note for note in notes)
    others = [line.replace("dog", "great dane") if sign in line else line for line in lines]
    assert not any("one label" in note for note in load(write(tmp_path, "path,label", *others)).notes)


@pytest.mark.parametrize(
    "labels", [("0,5", "0,25", "5", "25", "0"), ("a|a", "a", "b"), ("|", "a", "b"), ("a|zebra", "a", "b")]
)
def test_labels_with_signs_of_their_own_are_not_taken_for_several(labels: tuple[str, ...]) -> None:
    assert _joined(labels) == []


def test_one_odd_label_does_not_hide_the_others() -> None:
    (note,) = _joined(("cat", "dog", "bird", "cat|dog", "dog|bird", "cat|zebra"))
    assert note.startswith("2 of these look like several labels joined by '|'")


def test_paths_are_relative_to_the_table_wherever_noah_is_started(
    tmp_path: Path, write_images: WriteImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_images(tmp_path / "photos" / "images", 10)
    write(tmp_path / "photos", "path,label", *listed(10))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert len(load(Path("../photos/labels.csv")).train) == 6


def test_paths_may_lead_anywhere(tmp_path: Path, write_images: WriteImages) -> None:
    absolute = [str(path) for path in write_images(tmp_path / "images", 5)]
    relative = [f"../more/{path.name}" for path in write_images(tmp_path / "more", 5)]
    (tmp_path / "tables").mkdir()
    lines = [f"{path},{'ab'[number % 2]}" for number, path in enumerate([*absolute, *relative])]
    assert len(load(write(tmp_path / "tables", "path,label", *lines)).full_train) == 8


def test_the_split_column(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 12)
    splits = ("Train", "training", "TRAIN", "val", "dev", "test")
    lines = [f"{row},{splits[number // 2]}" for number, row in enumerate(listed(12))]
    dataset = load(write(tmp_path, "path,label,split", *lines))
    assert names(dataset.train) == {f"{number}.png" for number in range(6)}
    assert names(dataset.validation) == {f"{number}.png" for number in range(6, 10)}
    assert names(dataset.load_test()) == {"10.png", "11.png"}


def test_a_split_column_without_validation_and_test(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 10)
    dataset = load(write(tmp_path, "path,label,split", *listed(10, ",train")), seed=3)
    assert (len(dataset.train), len(dataset.validation)) == (8, 2)
    assert any("seed 3 holds out 2 of the 10 training images, class by class" in note for note in dataset.notes)
    assert any("names no images for testing" in note for note in dataset.notes)
    with pytest.raises(DataError, match="has no test split"):
        dataset.load_test()


def test_a_split_column_without_training_images(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 4)
    with pytest.raises(DataError, match="has no training images"):
        load(write(tmp_path, "path,label,split", *listed(4, ",test")))


def test_a_class_that_is_only_tested(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 6)
    lines = [*listed(4, ",train"), "images/4.png,yak,test", "images/5.png,a,val"]
    with pytest.raises(DataError, match="no training images of a class that other splits have: yak"):
        load(write(tmp_path, "path,label,split", *lines))


def test_groups_stay_on_one_side(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 60)
    lines = [f"{row},p{number // 6}" for number, row in enumerate(listed(60))]
    dataset = load(write(tmp_path, "path,label,patient", *lines), group="patient")
    parts = [
        {int(name.removesuffix(".png")) // 6 for name in names(split)}
        for split in (dataset.train, dataset.validation, dataset.load_test())
    ]
    assert sum(map(len, parts)) == 10 == len(set.union(*parts)) and all(parts)
    assert any("by its 10 groups, each on one side" in note for note in dataset.notes)


def test_groups_within_training_images(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 40)
    lines = [f"{row},{'train' if number < 32 else 'test'},g{number // 4}" for number, row in enumerate(listed(40))]
    dataset = load(write(tmp_path, "path,label,split,group", *lines))
    assert any("of the 32 training images, by its 8 groups, each on one side" in note for note in dataset.notes)
    kept, held_out = (
        {int(name.removesuffix(".png")) // 4 for name in names(split)} for split in (dataset.train, dataset.validation)
    )
    assert not kept & held_out and len(held_out) == 2


def test_given_splits_that_part_a_group(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 8)
    lines = [f"{row},{'train' if number < 6 else 'test'},g{number % 5}" for number, row in enumerate(listed(8))]
    path = write(tmp_path, "path,label,split,group", *lines)
    with pytest.raises(
        DataError, match=r"2 groups are in more than one split; for example, .*images/1\S* is for training"
    ) as caught:
        load(path)
    assert "type --columns group=, and no --groups," in caught.value.hint
    assert len(load(path, group="").load_test()) == 2


def test_one_group_leaves_nothing_to_hold_out(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 8)
    with pytest.raises(DataError, match="enough groups for one to be held out"):
        load(write(tmp_path, "path,label,group", *listed(8, ",all")))


def test_every_mistake_is_told_at_once(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 4)
    (tmp_path / "images" / "folder").mkdir()
    path = write(
        tmp_path,
        "path,label,split",
        "images/0.png,a,train",
        "images/9.png,a,train",
        "images/1.png,,train",
        ",b,train",
        "images/2.png,b,tset",
        "images/folder,b,train",
        "images/0.png,b,train",
        "images/3.png,b",
        "images/3.png,b\x07,train",
    )
    with pytest.raises(DataError) as caught:
        load(path)
    assert caught.value.problem.splitlines() == [
        f"{path} has 8 mistakes:",
        "  line 3: images/9.png does not exist",
        "  line 4: no label",
        "  line 5: no path",
        "  line 6: tset is no split",
        "  line 7: images/folder is a folder",
        "  line 8: 0.png has the label b here and a in line 2",
        "  line 9: 2 fields, where the first line names 3 columns",
        "  line 10: the label b\\x07 holds what cannot be printed",
    ]
    assert f"relative to {tmp_path}" in caught.value.hint and "test or testing" in caught.value.hint


def test_some_rows_without_a_split(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 3)
    path = write(tmp_path, "path,label,split", "images/0.png,a,train", "images/1.png,b,", "images/2.png,b,")
    with pytest.raises(DataError, match="line 3: no split") as caught:
        load(path)
    assert "of every image, or of none" in caught.value.hint


def test_an_empty_split_column_says_nothing(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 10)
    assert len(load(write(tmp_path, "path,label,split", *listed(10, ","))).load_test()) == 2


def test_repeated_rows_count_once(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 10)
    dataset = load(write(tmp_path, "path,label", *listed(10), *listed(2), "images/../images/3.png,b"))
    assert len(dataset.full_train) + len(dataset.load_test()) == 10
    assert any(note.startswith("3 rows repeat earlier ones of") for note in dataset.notes)


def test_paths_from_windows(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 10)
    dataset = load(write(tmp_path, "path,label", *(row.replace("/", "\\") for row in listed(10))))
    if os.sep == "/":
        assert any("10 paths" in note and "backslashes" in note for note in dataset.notes)
    assert len(dataset.full_train) == 8


def test_labels_in_two_forms_of_unicode_are_one_class(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 12)
    labels = ("caf\u00e9", "cafe\u0301", "tea")
    lines = [f"images/{number}.png,{labels[number % 3]}" for number in range(12)]
    assert load(write(tmp_path, "path,label", *lines)).classes == ("caf\u00e9", "tea")


def test_labels_that_are_numbers_are_in_their_order(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 33)
    lines = [f"images/{number}.png,{number % 11}" for number in range(33)]
    dataset = load(write(tmp_path, "path,label", *lines))
    assert dataset.classes == tuple(map(str, range(11)))
    assert any("in the order of their numbers, from 0 to 10" in note for note in dataset.notes)


def test_tables_that_cannot_be_trained_on(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 4)
    with pytest.raises(DataError, match="lists no image"):
        load(write(tmp_path, "path,label"))
    with pytest.raises(DataError, match="has only one class: a"):
        load(write(tmp_path, "path,label", "images/0.png,a"))
    with pytest.raises(DataError, match=r"no column for the path .* its columns are: images/0.png, a"):
        load(write(tmp_path, *listed(4)))
    with pytest.raises(DatasetNotFoundError, match="does not exist"):
        load(tmp_path / "absent.tsv")


def test_columns_do_not_go_with_other_sources(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--columns does not apply to digits"):
        load_dataset(DataSettings(dataset="digits", columns=ColumnSettings(path="x")), 0)


CELLS = st.sampled_from(["a.png", "b.png", "", "x", "train", "val", "\0", "caf\u00e9", "\ud800"])


@settings(max_examples=200)
@given(st.lists(st.lists(CELLS, min_size=2, max_size=4), max_size=8))
def test_whatever_a_table_says_there_is_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, rows: list[list[str]]
) -> None:
    folder = tmp_path_factory.getbasetemp()
    for name in ("a.png", "b.png"):
        (folder / name).touch()
    header = ("path", "label", "split", "group")
    lines = [json.dumps(dict(zip(header, row, strict=False))) for row in rows]
    try:
        load(write(folder, json.dumps(dict.fromkeys(header, None)), *lines, name="fuzzed.jsonl"))
    except NoahError as error:
        assert str(error).encode()
