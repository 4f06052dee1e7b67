"""VTAB-1k in the layout of lists: a folder for each task, with images and one text file for each split.

    <task>/train800.txt  <task>/val200.txt  <task>/test.txt    lines "<image path> <label>", paths relative to <task>/
    <task>/classes.txt                                         optional, one class name a line

The archive of that layout often unpacks into vtab-1k/vtab-1k/<task>.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from noah.data.dataset import Dataset
from noah.data.split import FileSplit
from noah.data.vtab_tasks import VtabTask, find_vtab_task
from noah.errors import DataError, DatasetNotFoundError

LAYOUT = (
    "A VTAB-1k folder holds train800.txt, val200.txt and test.txt with lines '<image path> <label>', and the images."
)

_EXPECTED_IMAGES = {"train800.txt": 800, "val200.txt": 200}


def find_vtab(name: str, data_root: Path) -> Path | None:
    """The folder of a task, under its name or an alias, at any of the usual places of `data_root`."""
    for folder in vtab_places(name, data_root):
        if (folder / "train800.txt").is_file() or (folder / "train800val200.txt").is_file():
            return folder
    return None


def vtab_places(name: str, data_root: Path) -> tuple[Path, ...]:
    """Where `find_vtab` looks.

    Raises:
        DatasetNotFoundError: VTAB-1k has no such task.
    """
    parents = (data_root, data_root / "vtab-1k", data_root / "vtab-1k" / "vtab-1k")
    return tuple(parent / folder for parent in parents for folder in _task(name).names)


def load_vtab(name: str, root: Path) -> Dataset:
    """Load a task: train800 to train, val200 to validate; test.txt is not read before `load_test`.

    Args:
        name: Of the task, or an alias.
        root: The folder of this task.

    Raises:
        DatasetNotFoundError: VTAB-1k has no such task.
        DataError: A list is missing or wrong, or an image that it names is missing.
    """
    task = _task(name)
    lists = {file: _read_list(root, file, task) for file in _EXPECTED_IMAGES}
    train, validation = lists.values()
    twice = sorted(set(train.paths) & set(validation.paths))
    if twice:
        raise DataError(
            f"{root / 'val200.txt'} lists {len(twice)} images that train800.txt lists too, as {twice[0]}.",
            "An image may be in one of them only.",
        )
    notes = [f"VTAB-1k's {task.name} is read from {root}: its fixed 800 training and 200 validation images."]
    for file, expected in _EXPECTED_IMAGES.items():
        if len(lists[file]) != expected:
            notes.append(
                f"{root / file} lists {len(lists[file]):,} images, where VTAB-1k has {expected}: accuracies are not "
                "comparable with published ones."
            )
    load_test = partial(_read_list, root, "test.txt", task)
    return Dataset(task.name, _class_names(root, task), train, validation, load_test, tuple(notes))


def _task(name: str) -> VtabTask:
    task = find_vtab_task(name)
    if task is None:
        raise DatasetNotFoundError(f"VTAB-1k has no task {name}.", "`noah datasets` lists all names.")
    return task


def _read_list(root: Path, file: str, task: VtabTask) -> FileSplit:
    """Read one list and check that its images are there."""
    path = root / file
    lines: dict[PurePosixPath, int] = {}
    labels = []
    for number, line in _lines(path):
        image, label = _parse(line, f"{path}, line {number}", task)
        if image in lines:
            raise DataError(f"{path}, line {number}: {image} is listed already in line {lines[image]}.")
        lines[image] = number
        labels.append(label)
    if not lines:
        raise DataError(f"{path} lists no image.", LAYOUT)
    missing = [image for image in lines if not (root / image).is_file()]
    if missing:
        shown = ", ".join(f"{image} (line {lines[image]})" for image in missing[:3])
        raise DataError(
            f"{path} lists {len(missing):,} images that do not exist below {root}: "
            f"{shown}{', ...' if len(missing) > 3 else ''}.",
            "Unpack the images of this task there.",
        )
    return FileSplit(tuple(root / image for image in lines), np.array(labels, np.int64))


def _parse(line: str, place: str, task: VtabTask) -> tuple[PurePosixPath, int]:
    """Split "<image path> <label>"; the path may contain spaces."""
    parts = line.rsplit(maxsplit=1)
    if len(parts) != 2 or not (parts[1].isascii() and parts[1].isdecimal()):
        raise DataError(f"{place}: '{line}' is not of the form '<image path> <label>'.", LAYOUT)
    image, label = PurePosixPath(parts[0]), int(parts[1])
    if image.is_absolute() or PureWindowsPath(parts[0]).anchor or ".." in image.parts:
        raise DataError(
            f"{place}: the path {image} leads out of the folder.", "Paths are relative to the list's folder."
        )
    if label >= task.classes:
        raise DataError(
            f"{place}: label {label} is too large; {task.name} has the {task.classes} labels 0 to {task.classes - 1}.",
            "Check that this is the folder of that task.",
        )
    return image, label


def _lines(path: Path) -> list[tuple[int, str]]:
    """The lines that are not blank, with their numbers; a byte order mark and Windows line ends do no harm."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} is missing.", LAYOUT) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a UTF-8 text file.", LAYOUT) from None
    except OSError as error:
        raise DataError(f"Cannot read {path}: {(error.strerror or str(error)).lower()}.") from error
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def _class_names(root: Path, task: VtabTask) -> tuple[str, ...]:
    """The names in classes.txt, else the numbers of the labels."""
    path = root / "classes.txt"
    if not path.exists():
        return tuple(map(str, range(task.classes)))
    names = tuple(name for _, name in _lines(path))
    if len(names) != task.classes or len(set(names)) != len(names):
        raise DataError(
            f"{path} holds {len(set(names))} different names; {task.name} has {task.classes} classes.",
            "Write one name a line in the order of the labels, or remove the file.",
        )
    return names
