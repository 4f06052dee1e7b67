from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noah.data.dataset import Dataset
from noah.data.sources.imagenet_labeled import foreign_dataset, foreign_folder, foreign_variant
from noah.data.sources.imagenet_variants import Variant, find_variant
from noah.data.split import ArraySplit
from noah.errors import DataError, DatasetNotFoundError
from tests.few_shot import SYNSETS, write_list, write_variant
from tests.noah.data.conftest import WriteImages

ANIMALS = ("ant", "bee", "cat")


def sketch() -> Variant:
    variant = find_variant("imagenet-sketch")
    assert variant
    return variant


def test_a_listed_variant_with_some_of_the_classes(tmp_path: Path) -> None:
    folder = write_variant(tmp_path / "imagenet-adversarial", "imagenet-a", (1, 3))
    found = foreign_folder(folder, SYNSETS)
    assert found.name == "imagenet-adversarial" and found.source == str(folder)
    assert found.present == (1, 3) and found.split.labels.tolist() == [1, 1, 3, 3]
    assert found.split.open(0).size == (32, 32)
    assert str(folder / "annotations" / "val_meta.list") in found.notes[0]


def test_the_folders_of_a_variant_without_lists(tmp_path: Path) -> None:
    folder = write_variant(tmp_path / "imagenet-r", "imagenet-r", (0, 2), listed=False)
    (folder / "imagenet-r" / "README.txt").touch()
    found = foreign_folder(folder, SYNSETS)
    assert found.present == (0, 2) and found.split.labels.tolist() == [0, 0, 2, 2]
    assert found.notes == (f"Each class is a folder of {folder / 'imagenet-r'}.",)


def test_folders_named_by_numbers_are_labels_of_imagenet(tmp_path: Path, write_images: WriteImages) -> None:
    folder = tmp_path / "imagenetv2-matched-frequency-format-val"
    for label in (3, 0):
        write_images(folder / str(label), 2)
    found = foreign_folder(tmp_path, SYNSETS)
    assert found.split.labels.tolist() == [0, 0, 3, 3] and "taken as ImageNet's labels" in found.notes[1]
    with pytest.raises(DataError, match="has 2 classes that this run does not know: 0, 3"):
        foreign_folder(folder, ANIMALS)


def test_a_variant_is_found_by_name_and_tells_what_it_lacks(tmp_path: Path) -> None:
    write_variant(tmp_path / "domain-generalization" / "imagenet-sketch", "sketch", (0, 1, 2, 3))
    found = foreign_variant(sketch(), tmp_path, SYNSETS)
    assert found.name == "imagenet-sketch"
    assert "has images of 4 classes, where imagenet-sketch has 1,000" in found.notes[-1]
    with pytest.raises(DatasetNotFoundError, match="No folder imagenet-sketch lies in") as caught:
        foreign_variant(sketch(), tmp_path / "elsewhere", SYNSETS)
    assert str(tmp_path / "elsewhere" / "imagenet-sketch") in caught.value.hint


@pytest.mark.parametrize("listed", [True, False])
def test_classes_that_the_run_does_not_know_are_counted(tmp_path: Path, listed: bool) -> None:
    folder = write_variant(tmp_path / "imagenet-a", "imagenet-a", (0, 1, 2, 3), listed=listed)
    with pytest.raises(DataError, match="has 2 classes that this run does not know: n01484850, n01491361") as caught:
        foreign_folder(folder, SYNSETS[:2])
    assert caught.value.hint.startswith("The run knows 2: n01440764, n01443537.")
    with pytest.raises(DataError, match=r"has 4 classes .*: n01440764, n01443537, n01484850 and 1 more"):
        foreign_folder(folder, ANIMALS)


def test_a_list_that_contradicts_the_class_folders_is_refused(tmp_path: Path) -> None:
    folder = write_variant(tmp_path / "imagenet-a", "imagenet-a", (0, 1))
    path = folder / "annotations" / "val_meta.list"
    path.write_text(path.read_text().replace(".jpg 1", ".jpg 3"))
    with pytest.raises(DataError, match="has the label 3, but n01443537 is class 1 of this run"):
        foreign_folder(folder, SYNSETS)


def test_a_list_without_class_folders_gives_labels(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "images", 3)
    write_list(tmp_path / "annotations" / "test_meta.list", [("0.png", 2), ("2.png", 0)])
    assert foreign_folder(tmp_path, ANIMALS).split.labels.tolist() == [2, 0]
    write_list(tmp_path / "annotations" / "test_meta.list", [("0.png", 3)])
    with pytest.raises(DataError, match="has 1 class that this run does not know: label 3"):
        foreign_folder(tmp_path, ANIMALS)
    (tmp_path / "annotations" / "test_meta.list").unlink()
    with pytest.raises(DataError, match=r"holds neither val_meta\.list nor test_meta\.list"):
        foreign_folder(tmp_path, ANIMALS)


def test_class_folders_of_other_photographs(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "outdoors" / "cat", 2)
    write_images(tmp_path / "outdoors" / "ant", 1)
    (tmp_path / "outdoors" / "dog").mkdir()  # a class that has no image is none
    found = foreign_folder(tmp_path / "outdoors", ANIMALS)
    assert (found.name, found.present, found.split.labels.tolist()) == ("outdoors", (0, 2), [0, 2, 2])


def test_a_folder_with_splits_is_tested_on_its_test_folder(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path / "train" / "ant", 2)
    for name in ("bee", "cat"):
        write_images(tmp_path / "test" / name, 2)
    found = foreign_folder(tmp_path, ANIMALS)
    assert found.present == (1, 2) and found.notes == (f"Each class is a folder of {tmp_path / 'test'}.",)
    assert foreign_folder(tmp_path / "test", ANIMALS).name == f"{tmp_path.name}-test"  # not that of the run's own test


def test_folders_without_images_or_with_one_class(tmp_path: Path, write_images: WriteImages) -> None:
    with pytest.raises(DatasetNotFoundError, match="is not a folder"):
        foreign_folder(tmp_path / "missing", ANIMALS)
    (tmp_path / "ant").mkdir()
    with pytest.raises(DataError, match="hold no image"):
        foreign_folder(tmp_path, ANIMALS)
    write_images(tmp_path / "ant", 2)
    with pytest.raises(DataError, match="has images of one class only, where every prediction would be right"):
        foreign_folder(tmp_path, ANIMALS)


def test_a_named_data_set_is_matched_by_class_names() -> None:
    images = ArraySplit(np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 1, 0]), "x")
    dataset = Dataset("x", ("cat", "ant"), images, images, lambda: images, ())
    found = foreign_dataset(dataset, ANIMALS)
    assert found.split.labels.tolist() == [2, 0, 0, 2] and found.present == (0, 2)
    assert len(found.split) == 4 and found.split.name(1) == "x/1" and found.split.open(1).size == (8, 8)
    assert len(found.notes) == 1
    with pytest.raises(DataError, match="x has 1 class that this run does not know: cat"):
        foreign_dataset(dataset, ("ant", "bee"))
    numbered = Dataset("x", ("1", "0"), images, images, lambda: images, ())
    assert "noah cannot tell whether they mean the same" in foreign_dataset(numbered, ("0", "1")).notes[-1]
