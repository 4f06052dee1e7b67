"""A user's own images: one folder per class, split by the user or at random."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np

from noah.data.dataset import Dataset, class_counts, imbalance_note
from noah.data.decode import is_image_path
from noah.data.sources.class_folders import LAYOUT, ClassFolders, check_names, find_classes, list_folder
from noah.data.sources.source import Source
from noah.data.split import Split, concatenate, select, stratified_split
from noah.errors import DataError, DatasetNotFoundError, UsageError
from noah.files.foreign_text import is_utf8, printable
from noah.settings.settings import DataSettings

_VALIDATION_NAMES = ("val", "valid", "validation")
_USED_NAMES = {"train", "test", *_VALIDATION_NAMES}
_SPLIT_NAMES = {"training", "testing", *_USED_NAMES}


def load_folder(folder: Path, *, seed: int, validation_fraction: float, test_fraction: float) -> Dataset:
    """Load FOLDER/<class>/<image>, or FOLDER/train/<class>/<image> with val and test beside train.

    The classes are the names of the folders in plain sorted order ("10" before "9"). Images are found at any depth of a
    class folder and recognized by their suffix. Splits that the user has not made are drawn with the seed, class by
    class: first the test images from all, then the validation images from the rest. A test folder is not listed before
    `load_test`.

    Args:
        folder: Where the images are.
        seed: Draws the splits that the user has not made.
        validation_fraction: The fraction of the images not for testing; ignored if there is a val folder.
        test_fraction: The fraction of all images; ignored if there is a train folder.

    Raises:
        DatasetNotFoundError: If there is no such folder.
        DataError: If the folder does not have this layout, or its classes cannot be trained on.
        UsageError: If a fraction is not between 0 and 1.
    """
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise DatasetNotFoundError(f"{printable(folder)} {state}.", f"Check the path. {LAYOUT}")
    folders, files = list_folder(folder)
    _check_names(folder, folders)
    if _is_split(folder, {path.name for path in folders}):
        return _load_split(folder, folders, files, seed, validation_fraction)
    return _load_unsplit(folder, seed, validation_fraction, test_fraction)


def _check_names(folder: Path, folders: list[Path]) -> None:
    """Refuse every name in which the dataset, or a class of any split, is not UTF-8.

    What lies in a test folder is not looked at before `load_test`.

    Raises:
        DataError: All of them.
    """
    splits = [path for path in folders if path.name in ("train", *_VALIDATION_NAMES)]
    below = [path for split in splits for path in list_folder(split)[0]]
    whole = folder if is_utf8(folder.resolve().name) else folder.resolve()
    check_names(dataset=whole, class_folders=below if "train" in {path.name for path in splits} else folders)


def _is_split(folder: Path, names: set[str]) -> bool:
    """Whether the user has made the splits.

    Raises:
        DataError: If folders named like splits would be taken for classes.
    """
    others = {name for name in names if name.lower() not in _SPLIT_NAMES}
    # Beside bus and ship, train is a class if images lie directly in it.
    train_classes = {name for name in names if name.lower() == "train" and others and _holds_images(folder / name)}
    if "train" in names - train_classes:
        return True
    for name in sorted(names - others - train_classes):
        raise DataError(
            f"{folder} holds a folder {name}, but no folder train with class folders.",
            f"Put the training images into {folder / 'train'}/<class>/, or rename {name} if it is a class.",
        )
    return False


def _holds_images(folder: Path) -> bool:
    return any(map(is_image_path, list_folder(folder)[1]))


def _load_split(folder: Path, folders: list[Path], files: list[Path], seed: int, validation_fraction: float) -> Dataset:
    """Load the layout with a train folder."""
    found = find_classes(folder / "train")
    classes = _usable_classes(found)
    train: Split = found.split(classes)
    notes = _scan_notes(found)
    given = [path for path in folders if path.name in _VALIDATION_NAMES]
    if len(given) > 1:
        raise DataError(
            f"{folder} holds more than one validation split: {', '.join(path.name for path in given)}.",
            "Keep one of them.",
        )
    if given:
        validation: Split = _load_held_out(given[0], classes)
        notes.append(f"Validation uses the {len(validation):,} images of {given[0]}, because that folder exists.")
    else:
        kept, held_out = stratified_split(train.labels, validation_fraction, seed)
        notes.append(
            f"{folder} has no val folder, so seed {seed} holds out {len(held_out):,} of the {len(train):,} images "
            "of train for validation, class by class."
        )
        train, validation = select(train, kept), select(train, held_out)
    notes += _unused_notes(folder, folders, files)
    if not (folder / "test").is_dir():  # nothing else may be read from it before `load_test`
        notes.append(
            f"{folder} has no test folder, so `noah eval` has nothing to measure on; add test images as "
            f"{folder / 'test'}/<class>/<image>."
        )
    notes += _content_notes(classes, {"train": train, "validation": validation})
    load_test = partial(_load_test_folder, folder / "test", classes)
    return Dataset(_name(folder), classes, train, validation, load_test, tuple(notes))


def _unused_notes(folder: Path, folders: list[Path], files: list[Path]) -> list[str]:
    """Note what lies beside train and is not used; a split's name with wrong capitals gets a note of its own."""
    others = [path for path in folders if path.name not in _USED_NAMES]
    misspelled = [path for path in others if path.name.lower() in _USED_NAMES]
    notes = [
        f"Not used, because of its spelling: {path}. Rename it to {path.name.lower()} if it is a split."
        for path in misspelled
    ]
    unused = [path for path in others if path not in misspelled] + [path for path in files if is_image_path(path)]
    if unused:
        names = ", ".join(printable(path.name) for path in unused)
        notes.append(f"Not used, because it lies beside {folder / 'train'}: {names}.")
    return notes


def _load_unsplit(folder: Path, seed: int, validation_fraction: float, test_fraction: float) -> Dataset:
    """Load the layout without splits, and draw them."""
    if not validation_fraction + test_fraction < 1:
        raise UsageError(
            f"Nothing is left to train on after {validation_fraction} for validation and {test_fraction} for testing.",
            "Choose smaller fractions, such as 0.2 and 0.2.",
        )
    found = find_classes(folder)
    classes = _usable_classes(found)
    everything = found.split(classes)
    rest, tested = stratified_split(everything.labels, test_fraction, seed)
    kept, held_out = stratified_split(everything.labels[rest], validation_fraction, seed)
    train, validation, test = (select(everything, indices) for indices in (rest[kept], rest[held_out], tested))
    notes = [
        *_scan_notes(found),
        f"{folder} has no train folder, so seed {seed} splits its {len(everything):,} images class by class: "
        f"{len(train):,} for training, {len(validation):,} for validation, {len(test):,} for testing.",
        *_content_notes(classes, {"train": train, "validation": validation, "test": test}),
    ]
    return Dataset(_name(folder), classes, train, validation, partial(select, everything, tested), tuple(notes))


def _load_test_folder(folder: Path, classes: tuple[str, ...]) -> Split:
    if not folder.is_dir():
        raise DataError(f"{folder.parent} has no test split.", f"Add test images as {folder}/<class>/<image>.")
    return _load_held_out(folder, classes)


def _load_held_out(folder: Path, classes: tuple[str, ...]) -> Split:
    """Load the images of a val or test folder; its classes must be among those of train."""
    found = find_classes(folder)
    unknown = [name for name in found.images if name not in classes]
    if unknown:
        raise DataError(
            f"{folder} has a class that {folder.parent / 'train'} lacks: {', '.join(unknown)}.",
            "Add training images of it, or remove it here.",
        )
    split = found.split(classes)
    if not len(split):
        raise DataError(f"The class folders of {folder} hold no image.", f"Add images as {folder}/<class>/<image>.")
    return split


def _usable_classes(found: ClassFolders) -> tuple[str, ...]:
    empty = [name for name, paths in found.images.items() if not paths]
    if empty:
        raise DataError(
            f"{found.folder} has a class without images: {', '.join(empty)}.",
            "Add images to it, or remove its folder. Images are recognized by their suffix, such as .jpg or .png.",
        )
    if len(found.images) < 2:
        raise DataError(f"{found.folder} has only one class: {', '.join(found.images)}.", f"Add another. {LAYOUT}")
    return tuple(found.images)


def _scan_notes(found: ClassFolders) -> list[str]:
    classes = list(found.images)
    notes = [
        f"The {len(classes)} classes are the folders of {found.folder} in plain sorted order, from {classes[0]} to "
        f"{classes[-1]}."
    ]
    if found.ignored:
        files = "1 file" if found.ignored == 1 else f"{found.ignored:,} files"
        notes.append(f"Ignored in {found.folder}: {files} without an image's suffix.")
    return notes


def _content_notes(classes: tuple[str, ...], splits: dict[str, Split]) -> list[str]:
    """Note classes that are missing from a split, and classes of very different sizes.

    Raises:
        DataError: If there is nothing to validate on.
    """
    if not len(splits["validation"]):
        raise DataError(
            "No class has enough images for one to be held out for validation.",
            f"Each class needs {len(splits)} images or more.",
        )
    notes = []
    for role, split in splits.items():
        missing = np.setdiff1d(np.arange(len(classes)), split.labels)
        if len(missing):
            names = ", ".join(classes[label] for label in missing[:5]) + (", ..." if len(missing) > 5 else "")
            notes.append(f"{len(missing)} of {len(classes)} classes have too few images to appear in {role}: {names}.")
    uneven = imbalance_note(class_counts(concatenate(splits["train"], splits["validation"]), classes))
    return [*notes, uneven] if uneven else notes


def _name(folder: Path) -> str:
    return folder.resolve().name or "images"


def _load(data: DataSettings, seed: int) -> Dataset:
    return load_folder(
        Path(str(data.folder)),
        seed=seed,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
    )


SOURCE = Source("a folder of class folders", lambda data: data.folder is not None, _load)
"""The last of all sources: whatever path no other knows."""
