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
        assert "1 of 4 classes has too few images to appear in test: one." in notes
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

    def test_valid_and_invalid_may_be_classes(self, tmp_path: Path, write_images: WriteImages) -> None:
        for name in ("valid", "invalid"):
            write_images(tmp_path / name, 4)
        assert load(tmp_path).classes == ("invalid", "valid")

    @pytest.mark.parametrize("name", ["test", "val", "Test", "DEV"])
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
        ("train", "validation", "test"),
        [
            ("Train", "Val", "Test"),
            ("TRAINING", "validation", "testing"),
            ("training", "VALID", "TEST"),
            ("train", "dev", "Testing"),
        ],
    )
    def test_splits_may_have_any_usual_name(
        self, tmp_path: Path, write_images: WriteImages, train: str, validation: str, test: str
    ) -> None:
        for part, count in ((train, 3), (validation, 2), (test, 1)):
            for name in ("a", "b"):
                write_images(tmp_path / part / name, count)
        dataset = load(tmp_path)
        assert (len(dataset.train), len(dataset.validation), len(dataset.load_test())) == (6, 4, 2)
        told = f"folders {train} for training, {validation} for validation, {test} for testing, as their names say."
        assert f"The splits are the {told}" in dataset.notes
        assert not any("Not used" in note for note in dataset.notes)

    def test_two_folders_of_training_images_are_refused(self, tmp_path: Path, write_images: WriteImages) -> None:
        for folder in ("train/a", "train/b", "training/a"):
            write_images(tmp_path / folder, 2)
        with pytest.raises(DataError, match="more than one training split: train, training"):
            load(tmp_path)

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
    def test_a_class_without_images_is_left_out_and_told(
        self, tmp_path: Path, write_images: WriteImages, below: str
    ) -> None:
        for name in ("a", "b"):
            write_images(tmp_path / below / name, 4)
        (tmp_path / below / "hollow").mkdir()
        (tmp_path / below / "hollow" / "list.txt").write_text("x")
        dataset = load(tmp_path)
        assert dataset.classes == ("a", "b")
        assert any(note.startswith("Left out") and note.endswith(", hollow.") for note in dataset.notes)

    @pytest.mark.parametrize("part", ["val", "test"])
    def test_a_class_without_training_images_that_a_split_has_is_refused(
        self, tmp_path: Path, write_images: WriteImages, part: str
    ) -> None:
        for name in ("train/a", "train/b", f"{part}/a", f"{part}/hollow"):
            write_images(tmp_path / name, 4)
        (tmp_path / "train" / "hollow").mkdir()
        with pytest.raises(DataError, match=f"{part} has a class that .*train lacks: hollow"):
            load(tmp_path).load_test()

    def test_a_class_folder_that_is_empty_everywhere_stops_nothing(
        self, tmp_path: Path, write_images: WriteImages
    ) -> None:
        for name in ("train/a", "train/b", "val/a", "test/b"):
            write_images(tmp_path / name, 2)
        for part in ("train", "val", "test"):
            (tmp_path / part / "hollow").mkdir()
        dataset = load(tmp_path)
        assert (len(dataset.validation), len(dataset.load_test())) == (2, 2)

    @pytest.mark.parametrize("below", ["", "train"])
    def test_no_image_at_all(self, tmp_path: Path, below: str) -> None:
        for name in ("a", "b"):
            (tmp_path / below / name).mkdir(parents=True)
        with pytest.raises(DataError, match="hold no image"):
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


class TestClasses:
    """Which folders are classes."""

    @pytest.mark.parametrize("below", ["", "train"])
    @pytest.mark.parametrize(
        "name",
        [
            *("@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".Trashes"),
            *(".ipynb_checkpoints", "#recycle"),
        ],
    )
    def test_what_a_system_made_is_no_class_and_holds_no_images(
        self, tmp_path: Path, write_images: WriteImages, below: str, name: str
    ) -> None:
        for place in ("a", "b", name, f"a/{name}", f"b/deep/{name}"):
            write_images(tmp_path / below / place, 4)
        dataset = load(tmp_path)
        assert (
            dataset.classes == ("a", "b") and len(dataset.full_train) + (0 if below else len(dataset.load_test())) == 8
        )
        assert any(note.startswith("Never a class") and note.endswith(f": {name}.") for note in dataset.notes)

    @pytest.mark.parametrize("runs", ["runs", "searches"])
    def test_noahs_own_runs_are_no_class(self, tmp_path: Path, write_images: WriteImages, runs: str) -> None:
        for place in ("a", "b", f"{runs}/photos/first/report"):
            write_images(tmp_path / place, 4)
        (tmp_path / runs / "photos" / "first" / "run.yaml").write_text("noah: 1")
        (tmp_path / runs / "latest").write_text("photos/first")
        dataset = load(tmp_path)
        assert dataset.classes == ("a", "b")
        assert any(note.startswith("Never a class") and note.endswith(f": {runs}.") for note in dataset.notes)

    def test_a_class_may_be_called_runs(self, tmp_path: Path, write_images: WriteImages) -> None:
        for place in ("jumps", "runs"):
            write_images(tmp_path / place, 4)
        assert load(tmp_path).classes == ("jumps", "runs")

    def test_one_name_in_two_forms_of_unicode_is_one_class(self, tmp_path: Path, write_images: WriteImages) -> None:
        composed, decomposed = "caf\u00e9", "cafe\u0301"
        write_images(tmp_path / "tea", 4)
        write_images(tmp_path / composed, 4)
        try:
            (tmp_path / decomposed).mkdir()
        except OSError:
            pytest.skip("to this file system both names are the same")
        write_images(tmp_path / decomposed, 6)
        dataset = load(tmp_path)
        assert dataset.classes == (composed, "tea")
        assert len(dataset.full_train) + len(dataset.load_test()) == 14
        assert any("Unicode" in note and note.endswith(f": {composed}.") for note in dataset.notes)

    def test_splits_that_were_packed_on_different_systems_have_the_same_classes(
        self, tmp_path: Path, write_images: WriteImages
    ) -> None:
        for place in ("train/caf\u00e9", "train/tea", "val/cafe\u0301", "test/cafe\u0301"):
            write_images(tmp_path / place, 2)
        dataset = load(tmp_path)
        assert dataset.validation.labels.tolist() == [0, 0] == dataset.load_test().labels.tolist()

    @staticmethod
    def write_superclasses(folder: Path, write_images: WriteImages) -> None:
        for place in ("animals/cat", "animals/dog", "animals/bat", "sports/bat", "sports"):
            write_images(folder / place, 4)

    @pytest.mark.parametrize("below", ["", "train"])
    def test_both_readings_of_superclasses_are_told(
        self, tmp_path: Path, write_images: WriteImages, below: str
    ) -> None:
        self.write_superclasses(tmp_path / below, write_images)
        dataset = load(tmp_path)
        assert dataset.classes == ("animals", "sports")
        (note,) = [note for note in dataset.notes if "--classes leaf" in note]
        assert "there are 2 classes: animals, sports." in note
        assert "there are 5: animals/bat, animals/cat, animals/dog, sports, sports/bat." in note

    @pytest.mark.parametrize("below", ["", "train"])
    def test_a_person_chooses_the_reading(self, tmp_path: Path, write_images: WriteImages, below: str) -> None:
        self.write_superclasses(tmp_path / below, write_images)
        if below:
            write_images(tmp_path / "test" / "sports" / "bat", 2)
        leaf, top = (
            load_folder(tmp_path, seed=0, validation_fraction=0.2, test_fraction=0.2, reading=reading)
            for reading in ("leaf", "top")
        )
        assert leaf.classes == ("animals/bat", "animals/cat", "animals/dog", "sports", "sports/bat")
        assert top.classes == ("animals", "sports")
        assert not any("--classes" in note for note in (*leaf.notes, *top.notes))
        if below:
            assert leaf.load_test().labels.tolist() == [4, 4] and top.load_test().labels.tolist() == [1, 1]

    def test_a_folder_around_the_class_folders_is_told(self, tmp_path: Path, write_images: WriteImages) -> None:
        for place in ("all/cat", "all/dog"):
            write_images(tmp_path / place, 4)
        with pytest.raises(DataError, match="only one class: all") as caught:
            load(tmp_path)
        assert "(all/cat, all/dog), type --classes leaf" in caught.value.hint
