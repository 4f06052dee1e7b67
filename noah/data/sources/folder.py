"""A user's own images: one folder per class, split by the user or at random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from noah.data.dataset import Dataset
from noah.data.formats import is_image_path
from noah.data.sources.class_folders import LAYOUT, ClassFolders, Reading, check_names, find_classes, list_folder
from noah.data.sources.division import content_notes, hold_out_some, how_held_out
from noah.data.sources.grouping import PURPOSE, group_notes, match_groups, refuse_parted
from noah.data.sources.source import Source
from noah.data.sources.split_names import Role, one_a_role, role_of
from noah.data.split import Split, concatenate, groups_of, number_groups, select, with_groups
from noah.errors import DataError, DatasetNotFoundError, NoTestSplitError, UsageError
from noah.files.foreign_text import is_utf8, printable
from noah.settings.settings import DataSettings


def load_folder(
    folder: Path,
    *,
    seed: int,
    validation_fraction: float,
    test_fraction: float,
    reading: Reading | None = None,
    groups: str | None = None,
) -> Dataset:
    """Load FOLDER/<class>/<image>, or FOLDER/train/<class>/<image> with val and test beside train.

    The splits may have any usual name in any capitals (`noah.data.sources.split_names`). The classes are the names of
    the folders in plain sorted order ("10" before "9"). Images are found at any depth of a class folder and recognized
    by their suffix. Splits that the user has not made are drawn with the seed, class by class: first the test images
    from all, then the validation images from the rest. A test folder is not listed before `load_test`.

    Args:
        folder: Where the images are.
        seed: Draws the splits that the user has not made.
        validation_fraction: The fraction of the images not for testing; ignored if there is a val folder.
        test_fraction: The fraction of all images; ignored if there is a train folder.
        reading: Which folders name the classes, see `find_classes`; None reads those at the top, and a note tells the
            other classes if there is a choice.
        groups: A regular expression that finds groups in paths below the folder, see `match_groups`; given splits must
            not part a group, and drawn ones do not.

    Raises:
        DatasetNotFoundError: If there is no such folder.
        DataError: If the folder does not have this layout, or its classes cannot be trained on.
        UsageError: If a fraction is not between 0 and 1.
    """
    if not folder.is_dir():
        state = "is not a folder" if folder.exists() else "does not exist"
        raise DatasetNotFoundError(f"{printable(folder)} {state}.", f"Check the path. {LAYOUT}")
    folders, files = list_folder(folder)
    splits = find_split_folders(folder, folders)
    _check_names(folder, folders, splits)
    if "train" in splits:
        return _load_split(folder, folders, files, splits, seed, validation_fraction, reading, groups)
    return _load_unsplit(folder, seed, validation_fraction, test_fraction, reading, groups)


def _check_names(folder: Path, folders: list[Path], splits: Mapping[Role, Path]) -> None:
    """Refuse every name in which the dataset, or a class of any split, is not UTF-8.

    What lies in a test folder is not looked at before `load_test`.

    Raises:
        DataError: All of them.
    """
    below = [path for role, split in splits.items() if role != "test" for path in list_folder(split)[0]]
    whole = folder if is_utf8(folder.resolve().name) else folder.resolve()
    check_names(dataset=whole, class_folders=below if "train" in splits else folders)


def find_split_folders(folder: Path, folders: Sequence[Path]) -> dict[Role, Path]:
    """Find the folders that hold the splits, if the user has made them.

    Beside bus and ship, train is a class if images lie directly in it, and so is valid beside invalid.

    Args:
        folder: Holds them.
        folders: What it holds.

    Returns:
        Role -> folder; none of them if there is no folder of training images.

    Raises:
        DataError: If two have the same role, or folders named like splits would be taken for classes.
    """
    roles = {path: role for path in folders if (role := role_of(path.name))}
    others = len(folders) > len(roles)
    of_train = [path for path, role in roles.items() if role == "train" and not (others and _holds_images(path))]
    if of_train:
        splits = {path: role for path, role in roles.items() if role != "train" or path in of_train}
        one_a_role([(role, path.name) for path, role in splits.items()], str(folder))
        paths = {role: path for path, role in splits.items()}
        return {role: paths[role] for role in PURPOSE if role in paths}
    for path, role in roles.items():
        if role == "test" or not (others and _holds_images(path)):
            raise DataError(
                f"{folder} holds a folder {path.name}, but no folder train with class folders.",
                f"Put the training images into {folder / 'train'}/<class>/, or rename {path.name} if it is a class.",
            )
    return {}


def _holds_images(folder: Path) -> bool:
    return any(map(is_image_path, list_folder(folder)[1]))


def _load_split(
    folder: Path,
    folders: list[Path],
    files: list[Path],
    splits: Mapping[Role, Path],
    seed: int,
    validation_fraction: float,
    reading: Reading | None,
    pattern: str | None,
) -> Dataset:
    """Load the layout with a train folder."""
    found = find_classes(splits["train"], reading or "top")
    classes = _usable_classes(found, reading)
    train: Split = found.split(classes)
    notes = _scan_notes(found, reading)
    if {path.name for path in splits.values()} - {"train", "val", "test"}:
        told = ", ".join(f"{path.name} for {PURPOSE[role]}" for role, path in splits.items())
        notes.append(f"The splits are the folders {told}, as their names say.")
    if "validation" in splits:
        place = splits["validation"]
        validation: Split = _load_held_out(place, splits["train"], classes, reading)
        train, validation, told_groups = _group_given(folder, train, validation, pattern)
        notes += told_groups
        notes.append(f"Validation uses the {len(validation):,} images of {place}, because that folder exists.")
    else:
        train, told_groups = _group(folder, train, pattern)
        notes += told_groups
        groups = number_groups(groups_of(train))
        kept, held_out = hold_out_some(train.labels, groups, validation_fraction, seed)
        notes.append(
            f"{folder} has no val folder, so seed {seed} holds out {len(held_out):,} of the {len(train):,} images "
            f"of {splits['train'].name} for validation, {how_held_out(groups)}."
        )
        train, validation = select(train, kept), select(train, held_out)
    notes += _unused_notes(folder, folders, files, splits)
    if "test" not in splits:  # nothing else may be read from it before `load_test`
        notes.append(
            f"{folder} has no test folder, so `noah eval` has nothing to measure on; add test images as "
            f"{folder / 'test'}/<class>/<image>."
        )
    notes += content_notes(classes, {"train": train, "validation": validation}, pattern is not None)
    place = splits.get("test", folder / "test")
    load_test = partial(_load_test_folder, place, splits["train"], classes, reading, pattern)
    return Dataset(_name(folder), classes, train, validation, load_test, tuple(notes))


def _unused_notes(folder: Path, folders: list[Path], files: list[Path], splits: Mapping[Role, Path]) -> list[str]:
    """Note what lies beside the splits and is not used."""
    used = set(splits.values())
    unused = [path for path in folders if path not in used] + [path for path in files if is_image_path(path)]
    if not unused:
        return []
    names = ", ".join(printable(path.name) for path in unused)
    return [f"Not used, because it lies beside {splits['train']}: {names}."]


def _load_unsplit(
    folder: Path,
    seed: int,
    validation_fraction: float,
    test_fraction: float,
    reading: Reading | None,
    pattern: str | None,
) -> Dataset:
    """Load the layout without splits, and draw them."""
    if not validation_fraction + test_fraction < 1:
        raise UsageError(
            f"Nothing is left to train on after {validation_fraction} for validation and {test_fraction} for testing.",
            "Choose smaller fractions, such as 0.2 and 0.2.",
        )
    found = find_classes(folder, reading or "top")
    classes = _usable_classes(found, reading)
    everything, told_groups = _group(folder, found.split(classes), pattern)
    groups = number_groups(groups_of(everything))
    rest, tested = hold_out_some(everything.labels, groups, test_fraction, seed)
    of_rest = None if groups is None else groups[rest]
    kept, held_out = hold_out_some(everything.labels[rest], of_rest, validation_fraction, seed)
    train, validation, test = (select(everything, indices) for indices in (rest[kept], rest[held_out], tested))
    notes = [
        *_scan_notes(found, reading),
        *told_groups,
        f"{folder} has no train folder, so seed {seed} splits its {len(everything):,} images {how_held_out(groups)}: "
        f"{len(train):,} for training, {len(validation):,} for validation, {len(test):,} for testing.",
        *content_notes(classes, {"train": train, "validation": validation, "test": test}, pattern is not None),
    ]
    load_test = partial(select, everything, tested)
    return Dataset(_name(folder), classes, train, validation, load_test, tuple(notes), test_is_drawn=True)


def _group(folder: Path, images: Split, pattern: str | None) -> tuple[Split, list[str]]:
    """Join their groups to images, and say how many there are."""
    groups = match_groups(images, pattern, folder)
    if groups is None or pattern is None:
        return images, []
    return with_groups(images, groups), group_notes(images, groups, pattern)


def _group_given(folder: Path, train: Split, validation: Split, pattern: str | None) -> tuple[Split, Split, list[str]]:
    """Do the same for given splits, and refuse them if they part a group."""
    both, notes = _group(folder, concatenate(train, validation), pattern)
    groups = number_groups(groups_of(both))
    if groups is None:
        return train, validation, notes
    cut = len(train)
    roles: list[Role] = ["train" if index < cut else "validation" for index in range(len(both))]
    refuse_parted(str(folder), both, groups, roles, "leave out --groups")
    return select(both, np.arange(cut)), select(both, np.arange(cut, len(both))), notes


def _load_test_folder(
    folder: Path, train: Path, classes: tuple[str, ...], reading: Reading | None, pattern: str | None
) -> Split:
    if not folder.is_dir():
        raise NoTestSplitError(f"{folder.parent} has no test split.", f"Add test images as {folder}/<class>/<image>.")
    test = _load_held_out(folder, train, classes, reading)
    groups = match_groups(test, pattern, folder.parent)
    return test if groups is None else with_groups(test, groups)


def _load_held_out(folder: Path, train: Path, classes: tuple[str, ...], reading: Reading | None) -> Split:
    """Load the images of a val or test folder; its classes must be among those of train."""
    found = find_classes(folder, reading or "top")
    unknown = [name for name in found.images if name not in classes]
    if unknown:
        raise DataError(
            f"{folder} has a class that {train} lacks: {', '.join(unknown)}.",
            "Add training images of it, or remove it here.",
        )
    split = found.split(classes)
    if not len(split):
        raise DataError(f"The class folders of {folder} hold no image.", f"Add images as {folder}/<class>/<image>.")
    return split


def _usable_classes(found: ClassFolders, reading: Reading | None) -> tuple[str, ...]:
    """The classes that have images, if there are at least two."""
    if not found.images:
        raise DataError(
            f"The class folders of {found.folder} hold no image.",
            "Images are recognized by their suffix, such as .jpg or .png.",
        )
    if len(found.images) < 2:
        hint = f"Add another. {LAYOUT}"
        if reading is None and len(found.other_reading) > 1:
            names = _listed(found.other_reading)
            hint = f"If the folders that the images lie in are the classes ({names}), type --classes leaf."
        raise DataError(f"{found.folder} has only one class: {', '.join(found.images)}.", hint)
    return tuple(found.images)


def _scan_notes(found: ClassFolders, reading: Reading | None) -> list[str]:
    classes = list(found.images)
    which = "folders of" if found.reading == "top" else "folders that images lie in below"
    notes = [
        f"The {len(classes)} classes are the {which} {found.folder} in plain sorted order, from {classes[0]} to "
        f"{classes[-1]}."
    ]
    if reading is None and tuple(classes) != found.other_reading:
        notes.append(
            f"Some images lie in folders inside the class folders. Read by the folders at the top, as here, there are "
            f"{len(classes)} classes: {_listed(classes)}. Read by the folders that images lie in, there are "
            f"{len(found.other_reading)}: {_listed(found.other_reading)}. --classes leaf chooses these; --classes top "
            "keeps the others without this note."
        )
    if found.respelled:
        notes.append(
            "Several folders have the same name, whose letters Unicode composes in different ways; each is one class: "
            f"{_listed(found.respelled)}."
        )
    if found.empty:
        folders = "1 class folder" if len(found.empty) == 1 else f"{len(found.empty):,} class folders"
        notes.append(f"Left out, because they hold no image: {folders} of {found.folder}, {_listed(found.empty)}.")
    if found.left_out:
        notes.append(
            f"Never a class, because a system or noah itself made these folders below {found.folder}: "
            f"{_listed(found.left_out)}."
        )
    if found.ignored:
        files = "1 file" if found.ignored == 1 else f"{found.ignored:,} files"
        notes.append(f"Ignored in {found.folder}: {files} without an image's suffix.")
    return notes


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _name(folder: Path) -> str:
    return folder.resolve().name or "images"


def _load(data: DataSettings, seed: int) -> Dataset:
    return load_folder(
        Path(str(data.folder)),
        seed=seed,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
        reading=data.classes,
        groups=data.groups,
    )


SOURCE = Source(
    "a folder of class folders", lambda data: data.folder is not None, _load, takes=frozenset({"classes", "groups"})
)
"""The last of all sources: whatever path no other knows."""
