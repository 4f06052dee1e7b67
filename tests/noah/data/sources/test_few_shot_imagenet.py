from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noah.data.dataset import Dataset
from noah.data.sources.few_shot import load_few_shot
from noah.data.sources.few_shot_sets import IMAGENET
from noah.errors import DataError
from tests.few_shot import SYNSETS, write_imagenet, write_list


def load(root: Path, shots: int = 4, seed: int = 0) -> Dataset:
    return load_few_shot(IMAGENET, root, shots=shots, list_seed=0, seed=seed)


def counts(dataset: Dataset) -> list[list[int]]:
    """Images of each class to train on, validate on and retrain on."""
    splits = (dataset.train, dataset.validation, dataset.full_train)
    return [np.bincount(split.labels, minlength=len(SYNSETS)).tolist() for split in splits]


def names(dataset: Dataset) -> list[set[str]]:
    return [{split.name(n) for n in range(len(split))} for split in (dataset.train, dataset.validation)]


def test_classes_are_the_synsets_of_the_training_images(tmp_path: Path) -> None:
    dataset = load(write_imagenet(tmp_path, validation=1))
    assert len(dataset.classes) == 1000
    assert dataset.classes[: len(SYNSETS)] == SYNSETS and dataset.classes[999] == "999"
    assert any("996 of the 1,000 classes do not have 4 images" in note for note in dataset.notes)


def test_the_held_out_images_are_not_trained_on_before_the_search(tmp_path: Path) -> None:
    dataset = load(write_imagenet(tmp_path, validation=1))
    assert counts(dataset) == [[3] * 4, [1] * 4, [4] * 4]
    train, validation = names(dataset)
    assert not train & validation
    assert any("4 of its images are in the training list too; the supernet is not" in note for note in dataset.notes)


def test_no_class_loses_its_last_training_image(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path, validation=4)
    write_list(
        root / "annotations" / "train_meta.list.num_shot_1.seed_0",
        [(f"{synset}/{synset}_0.JPEG", label) for label, synset in enumerate(SYNSETS)],
    )
    dataset = load(root, shots=1)
    assert counts(dataset) == [[1] * 4, [3] * 4, [1] * 4]
    assert any("they are left out of the validation" in note for note in dataset.notes)
    with pytest.raises(DataError, match=r"All images of .*unofficial_val_list_4_shot16seed0 are in .*num_shot_4"):
        load(root)


def test_without_a_list_to_validate_on_the_seed_holds_images_out(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path)
    dataset = load(root)
    assert counts(dataset) == [[3] * 4, [1] * 4, [4] * 4]
    assert any("so seed 0 holds out 4 of the 16 listed images for the search" in note for note in dataset.notes)
    assert names(dataset) == names(load(root)) != names(load(root, seed=1))


def test_one_shot_without_a_list_to_validate_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no list unofficial_val_list_4_shot16seed0 to validate on") as caught:
        load(write_imagenet(tmp_path, shots=1), shots=1)
    assert "more --shots" in caught.value.hint


def test_the_official_validation_split_is_the_test_split(tmp_path: Path) -> None:
    test = load(write_imagenet(tmp_path)).load_test()
    assert len(test) == 8 and test.name(0).startswith(str(tmp_path / "val" / SYNSETS[0]))


def test_a_test_list_makes_the_validation_list_one_to_search_with(tmp_path: Path) -> None:
    root = write_imagenet(tmp_path)
    write_list(root / "annotations" / "test_meta.list", [(f"{SYNSETS[0]}/ILSVRC2012_val_00.JPEG", 0)])
    dataset = load(root)
    assert counts(dataset) == [[4] * 4, [2] * 4, [4] * 4]
    assert len(dataset.load_test()) == 1


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([("a/1.JPEG", 0), ("b/1.JPEG", 0)], "b/1.JPEG has the label 0, whose class folder is a"),
        ([("a/1.JPEG", 0), ("a/2.JPEG", 1)], "gives images of one folder different labels"),
        ([("1.JPEG", 0)], "1.JPEG has the label 0, whose class folder is not told"),
    ],
)
def test_folders_and_labels_have_to_agree(tmp_path: Path, entries: list[tuple[str, int]], problem: str) -> None:
    write_imagenet(tmp_path, validation=1)
    write_list(tmp_path / "annotations" / "train_meta.list.num_shot_4.seed_0", entries)
    for name, _ in entries:
        (tmp_path / "train" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "train" / name).touch()
    with pytest.raises(DataError, match=problem):
        load(tmp_path)
