from __future__ import annotations

import re
from pathlib import Path

import pytest

from noah.data.dataset import Dataset
from noah.data.sources.few_shot import load_few_shot, training_lists
from noah.data.sources.few_shot_sets import FewShotSet
from noah.errors import DataError
from tests.few_shot import write_few_shot

MINE = FewShotSet("mine", 3)


def load(root: Path, shots: int = 4, list_seed: int = 0, known: FewShotSet = MINE) -> Dataset:
    return load_few_shot(known, root, shots=shots, list_seed=list_seed, seed=0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_few_shot(tmp_path / "mine", shots=(1, 4), seeds=(0, 2))


def test_lists_become_splits(root: Path) -> None:
    dataset = load(root)
    assert dataset.name == "mine-4shot" and dataset.classes == ("0", "1", "2")
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.load_test())] == [12, 6, 6]
    assert dataset.train.name(5) == str(root / "images" / "class 1" / "train 1.jpg")  # blanks in the path
    assert dataset.train.open(5).size == (32, 32) and dataset.train.labels[5] == 1
    assert f"4-shot list of mine with seed 0 is read: {root}" in dataset.notes[0]


def test_shots_and_seed_choose_the_list(root: Path) -> None:
    assert load(root, 1).train.name(0).endswith("train 0.jpg")
    assert load(root, 1, 2).train.name(0).endswith("train 2.jpg")


def test_the_winner_is_trained_on_the_few_shots_alone(root: Path) -> None:
    dataset = load(root)
    assert dataset.full_train.labels.tolist() == dataset.train.labels.tolist()
    assert "retrained on the 12 images of the 4-shot list alone" in dataset.notes[-1]


def test_images_may_lie_in_the_folder_itself(tmp_path: Path) -> None:
    cars = FewShotSet("cars", 3, (), (".",), (".",))
    dataset = load(write_few_shot(tmp_path / "cars", images="."), known=cars)
    assert dataset.train.name(0) == str(tmp_path / "cars" / "class 0" / "train 0.jpg")


def test_published_lists_with_every_line_twice(root: Path) -> None:
    path = root / "annotations" / "train_meta.list.num_shot_1.seed_0"
    path.write_text("".join(line * 2 for line in path.read_text().splitlines(keepends=True)))
    dataset = load(root, 1)
    assert len(dataset.train) == 3
    assert f"{path} lists 3 images more than once; each counts once." in dataset.notes
    path.write_text(path.read_text() + "class 0/train 0.jpg 2\n")
    with pytest.raises(DataError, match=r"line 7: class 0/train 0\.jpg has the label 2 here and 0 in line 1"):
        load(root, 1)


def test_a_list_with_other_numbers_of_images_is_noted(root: Path) -> None:
    path = root / "annotations" / "train_meta.list.num_shot_4.seed_0"
    path.write_text("\n".join(path.read_text().splitlines()[:-1]))
    assert any("1 of the 3 classes do not have 4 images" in note for note in load(root).notes)


def test_mark_and_windows_lines_do_no_harm(root: Path) -> None:
    for path in (root / "annotations").iterdir():
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(load(root).load_test()) == 6


def test_a_missing_list_tells_which_exist(root: Path) -> None:
    with pytest.raises(DataError, match=r"There is no list .*num_shot_8\.seed_0") as caught:
        load(root, 8)
    assert caught.value.hint.startswith("These shots exist: 1 with seed 0, 2; 4 with seed 0, 2. Choose with --shots")
    with pytest.raises(DataError, match=r"There is no list .*num_shot_4\.seed_1"):
        load(root, 4, 1)
    assert training_lists(root) == {1: [0, 2], 4: [0, 2]}
    for path in (root / "annotations").glob("train_meta*"):
        path.unlink()
    with pytest.raises(DataError) as caught:
        load(root)
    assert "train_meta.list.num_shot_<K>.seed_<S>" in caught.value.hint


def test_missing_validation_and_test_lists_are_named(root: Path) -> None:
    (root / "annotations" / "test_meta.list").unlink()
    dataset = load(root)
    with pytest.raises(DataError, match=r"test_meta\.list is missing"):
        dataset.load_test()
    (root / "annotations" / "val_meta.list").unlink()
    with pytest.raises(DataError, match=r"val_meta\.list is missing"):
        load(root)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("class 0/train 0.jpg 3", "label 3 is too large; mine has the 3 labels 0 to 2"),
        ("class 0/train 0.jpg", "is not of the form"),
        ("../train.jpg 0", "leads out of the folder"),
    ],
)
def test_a_wrong_line_is_named_by_file_and_number(root: Path, line: str, problem: str) -> None:
    path = root / "annotations" / "train_meta.list.num_shot_4.seed_0"
    path.write_text(f"class 1/train 0.jpg 1\n{line}\n")
    with pytest.raises(DataError, match=re.escape(f"{path}, line 2: ") + f".*{problem}"):
        load(root)


def test_missing_images_are_told_with_their_folder(root: Path) -> None:
    (root / "images" / "class 2" / "train 3.jpg").unlink()
    with pytest.raises(
        DataError, match=rf"lists 1 image that does not exist below {root}/images: class 2/train 3\.jpg"
    ):
        load(root)


def test_class_names_come_from_their_file(root: Path) -> None:
    (root / "classes.txt").write_text("ant\nbee\ncat\n")
    assert load(root).classes == ("ant", "bee", "cat")
