from __future__ import annotations

import os
from pathlib import Path

import pytest

from noah.data.dataset import Dataset, class_counts
from noah.data.sources.folder import load_folder
from noah.errors import DataError, DatasetNotFoundError, UsageError
from tests.noah.data.conftest import WriteImages


def load(folder: Path, seed: int = 0, validation_fraction: float = 0.2, test_fraction: float = 0.2) -> Dataset:
    return load_folder(folder, seed=seed, validation_fraction=validation_fraction, test_fraction=test_fraction)


def names(dataset: Dataset) -> list[set[str]]:
    splits = (dataset.train, dataset.validation, dataset.load_test())
    return [{split.name(index) for index in range(len(split))} for split in splits]


class TestUnsplit:
    """FOLDER/<class>/<image>."""

    def test_every_class_is_split_by_seed(self, tmp_path: Path, write_images: WriteImages) -> None:
        for name in ("dog", "cat"):
            write_images(tmp_path / "pets" / name, 10)
        dataset = load(tmp_path / "pets", validation_fraction=0.25)
        assert dataset.name == "pets" and dataset.classes == ("cat", "dog")
        assert class_counts(dataset.train, dataset.classes) == {"cat": 6, "dog": 6}
        assert class_counts(dataset.validation, dataset.classes) == {"cat": 2, "dog": 2}
        assert class_counts(dataset.load_test(), dataset.classes) == {"cat": 2, "dog": 2}
        parts = names(dataset)
        assert len(set.union(*parts)) == 20 == sum(map(len, parts))
        assert parts == names(load(tmp_path / "pets", validation_fraction=0.25))
        assert parts != names(load(tmp_path / "pets", seed=1, validation_fraction=0.25))

    def test_labels_are_those_of_the_folders(self, tmp_path: Path, write_images: WriteImages) -> None:
        for name in ("b", "a", "c"):
            write_images(tmp_path / name, 4)
        train = load(tmp_path).train
        for index in range(len(train)):
            assert Path(train.name(index)).parent.name == "abc"[train.labels[index]]

    def test_notes_tell_what_was_chosen(self, tmp_path: Path, write_images: WriteImages) -> None:
        for name, count in (("many", 40), ("few", 4), ("two", 2), ("one", 1)):
            write_images(tmp_path / name, count)
        (tmp_path / "many" / "list.txt").write_text("x")
        notes = "\n".join(load(tmp_path, seed=7).notes)
        assert "The 4 classes are the folders of" in notes and "plain sorted order, from few to two" in notes
        assert "1 file without an image's suffix" in notes
        assert "seed 7 splits its 47 images class by class" in notes
        assert "2 of 4 classes have too few images to appear in validation: one, two." in notes
        assert "1 of 4 classes have too few images to appear in test: one." in notes
        assert "many has 32 images and one 1" in notes and "--class-weights balanced" in notes

    def test_classes_of_one_or_two_images_leave_nothing_to_validate_on(
        self, tmp_path: Path, write_images: WriteImages
    ) -> None:
        for name in ("a", "b"):
            write_images(tmp_path / name, 2)
        with pytest.raises(DataError, match="held out for validation") as caught:
            load(tmp_path)
        assert "3 images or more" in caught.value.hint

    @pytest.mark.parametrize(("validation", "test"), [(0.5, 0.5), (0.9, 0.2), (float("nan"), 0.2)])
    def test_fractions_have_to_leave_something(
        self, tmp_path: Path, write_images: WriteImages, validation: float, test: float
    ) -> None:
        for name in ("a", "b"):
            write_images(tmp_path / name, 4)
        with pytest.raises(UsageError, match="Nothing is left to train on"):
            load(tmp_path, validation_fraction=validation, test_fraction=test)

    @pytest.mark.parametrize("fractions", [(0.0, 0.2), (0.2, 0.0), (-0.5, 0.2)])
    def test_fractions_have_to_be_above_zero(
        self, tmp_path: Path, write_images: WriteImages, fractions: tuple[float, float]
    ) -> None:
        for name in ("a", "b"):
            write_images(tmp_path / name, 4)
        with pytest.raises(UsageError, match="cannot be held out"):
            load(tmp_path, validation_fraction=fractions[0], test_fraction=fractions[1])

    def test_a_class_may_be_called_train(self, tmp_path: Path, write_images: WriteImages) -> None:
        for name in ("bus", "train", "ship"):
            write_images(tmp_path / name, 4)
        assert load(tmp_path).classes == ("bus", "ship", "train")

    @pytest.mark.parametrize("name", ["test", "val", "Training", "Test", "Train"])
    def test_a_folder_called_like_a_split_is_not_taken_for_a_class(
        self, tmp_path: Path, write_images: WriteImages, name: str
    ) -> None:
        for folder in ("a", "b", f"{name}/a"):
            write_images(tmp_path / folder, 4)
        with pytest.raises(DataError, match=f"holds a folder {name}, but no folder train") as caught:
            load(tmp_path)
        assert f"rename {name} if it is a class" in caught.value.hint


class TestSplit:
    """FOLDER/train/<class>/<image>, val and test optional."""

    def test_all_three_are_used_as_given(self, tmp_path: Path, write_images: WriteImages) -> None:
        for part, count in (("train", 3), ("valid", 2), ("test", 1)):
            for name in ("a", "b"):
                write_images(tmp_path / part / name, count)
        dataset = load(tmp_path)
        assert (len(dataset.train), len(dataset.validation), len(dataset.load_test())) == (6, 4, 2)
        assert dataset.load_test().labels.tolist() == [0, 1]
        assert any("Validation uses the 4 images of" in note for note in dataset.notes)

    def test_missing_validation_is_split_off_train(self, tmp_path: Path, write_images: WriteImages) -> None:
        for name in ("a", "b"):
            write_images(tmp_path / "train" / name, 10)
        dataset = load(tmp_path, seed=5)
        assert class_counts(dataset.validation, dataset.classes) == {"a": 2, "b": 2} and len(dataset.train) == 16
        assert any("seed 5 holds out 4 of the 20 images" in note for note in dataset.notes)

    def test_missing_test_is_told_at_once_and_when_it_is_asked_for(
        self, tmp_path: Path, write_images: WriteImages
    ) -> None:
        for name in ("a", "b"):
            write_images(tmp_path / "train" / name, 2)
        dataset = load(tmp_path)
        (note,) = [note for note in dataset.notes if "has no test folder" in note]
        assert f"{tmp_path / 'test'}/<class>/<image>" in note
        with pytest.raises(DataError, match="has no test split") as caught:
            dataset.load_test()
        assert f"{tmp_path / 'test'}/<class>/<image>" in caught.value.hint
        (tmp_path / "test").mkdir()
        assert not any("has no test folder" in note for note in load(tmp_path).notes)

    def test_validation_and_test_may_lack_classes(self, tmp_path: Path, write_images: WriteImages) -> None:
        for folder in ("train/a", "train/b", "train/c", "val/b", "test/c"):
            write_images(tmp_path / folder, 2)
        (tmp_path / "val" / "a").mkdir()
        dataset = load(tmp_path)
        assert dataset.validation.labels.tolist() == [1, 1] and dataset.load_test().labels.tolist() == [2, 2]
        assert any("2 of 3 classes have too few images to appear in validation: a, c" in note for note in dataset.notes)

    def test_what_lies_beside_train_is_noted(self, tmp_path: Path, write_images: WriteImages) -> None:
        for folder in ("train/a", "train/b", "extra/a"):
            write_images(tmp_path / folder, 2)
        write_images(tmp_path, 1)
        assert any("Not used" in note and note.endswith(": extra, 0.png.") for note in load(tmp_path).notes)

    @pytest.mark.parametrize(
        ("name", "right"), [("Test", "test"), ("VAL", "val"), ("Valid", "valid"), ("Validation", "validation")]
    )
    def test_a_split_in_other_capitals_is_noted(
        self, tmp_path: Path, write_images: WriteImages, name: str, right: str
    ) -> None:
        for folder in ("train/a", "train/b", f"{name}/a"):
            write_images(tmp_path / folder, 2)
        if (tmp_path / right).exists():
            pytest.skip("to this file system capitals are all the same")
        notes = load(tmp_path).notes
        assert f"Not used, because of its spelling: {tmp_path / name}. Rename it to {right} if it is a split." in notes
        assert not any("lies beside" in note for note in notes)

    def test_what_lies_beside_train_is_noted_whatever_its_name(self, tmp_path: Path, write_images: WriteImages) -> None:
        for folder in ("train/a", "train/b"):
            write_images(tmp_path / folder, 2)
        try:
            (tmp_path / os.fsdecode(b"caf\xe9")).mkdir()
        except OSError:
            pytest.skip("this file system has only names in UTF-8")
        assert any(note.endswith(r": caf\xe9.") for note in load(tmp_path).notes)

    @pytest.mark.parametrize("part", ["val", "test"])
    def test_a_class_that_train_lacks_is_named(self, tmp_path: Path, write_images: WriteImages, part: str) -> None:
        for folder in ("train/a", "train/b", f"{part}/a", f"{part}/yak"):
            write_images(tmp_path / folder, 2)
        with pytest.raises(DataError, match=f"{part} has a class that .*train lacks: yak"):
            load(tmp_path).load_test()

    def test_two_validation_folders_are_refused(self, tmp_path: Path, write_images: WriteImages) -> None:
        for folder in ("train/a", "train/b", "val/a", "validation/a"):
            write_images(tmp_path / folder, 2)
        with pytest.raises(DataError, match="more than one validation split: val, validation"):
            load(tmp_path)

    def test_a_test_split_without_images_is_refused(self, tmp_path: Path, write_images: WriteImages) -> None:
        for folder in ("train/a", "train/b"):
            write_images(tmp_path / folder, 2)
        (tmp_path / "test" / "a").mkdir(parents=True)
        with pytest.raises(DataError, match="test hold no image"):
            load(tmp_path).load_test()

    def test_images_directly_in_train_are_refused(self, tmp_path: Path, write_images: WriteImages) -> None:
        write_images(tmp_path / "train", 2)
        with pytest.raises(DataError, match=r"lie directly in .*train"):
            load(tmp_path)


class TestBoth:
    @pytest.mark.parametrize("below", ["", "train"])
    def test_a_class_without_images_is_named(self, tmp_path: Path, write_images: WriteImages, below: str) -> None:
        write_images(tmp_path / below / "a", 2)
        (tmp_path / below / "hollow").mkdir()
        (tmp_path / below / "hollow" / "list.txt").write_text("x")
        with pytest.raises(DataError, match="has a class without images: hollow"):
            load(tmp_path)

    @pytest.mark.parametrize("below", ["", "train"])
    def test_one_class_is_too_few(self, tmp_path: Path, write_images: WriteImages, below: str) -> None:
        write_images(tmp_path / below / "only", 5)
        with pytest.raises(DataError, match="has only one class: only"):
            load(tmp_path)

    def test_a_missing_folder_and_a_file(self, tmp_path: Path) -> None:
        with pytest.raises(DatasetNotFoundError, match="absent does not exist"):
            load(tmp_path / "absent")
        (tmp_path / "file").write_text("x")
        with pytest.raises(DatasetNotFoundError, match="file is not a folder"):
            load(tmp_path / "file")

    def test_a_folder_of_loose_images_is_refused(self, tmp_path: Path, write_images: WriteImages) -> None:
        write_images(tmp_path, 2)
        with pytest.raises(DataError, match="lie directly in"):
            load(tmp_path)
