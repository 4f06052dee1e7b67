"""VTAB-1k as lists of images: a folder for each task, with images and one text file for each split.

    <task>/train800.txt  <task>/val200.txt  <task>/test.txt    lines "<image path> <label>", paths relative to <task>/
    <task>/classes.txt                                         optional, one class name per line

An archive with this layout often unpacks into vtab-1k/vtab-1k/<task>.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from noah.data.dataset import Dataset, untrained_note
from noah.data.sources.lists import ImageList, read_class_names, read_list
from noah.data.sources.vtab.lossy_copies import lossy_note
from noah.data.sources.vtab.vtab_tasks import VtabTask, find_vtab_task
from noah.data.split import Split
from noah.errors import DataError, DatasetNotFoundError
from noah.progress import counted

LAYOUT = (
    "A VTAB-1k folder holds train800.txt, val200.txt and test.txt with lines '<image path> <label>', and the images."
)

VTAB_PARENTS = (Path(), Path("vtab-1k"), Path("vtab-1k/vtab-1k"))
"""Where a task's folder may be, below the data root or in an archive."""

_EXPECTED_IMAGES = {"train800.txt": 800, "val200.txt": 200}


def find_vtab(name: str, data_root: Path) -> Path | None:
    """Find a task's folder, under its name or an alias, in any of the usual places below `data_root`."""
    return next(filter(is_vtab_folder, vtab_places(name, data_root)), None)


def is_vtab_folder(folder: Path) -> bool:
    """Whether a folder holds a task's training list."""
    return (folder / "train800.txt").is_file() or (folder / "train800val200.txt").is_file()


def vtab_places(name: str, data_root: Path) -> tuple[Path, ...]:
    """All paths at which `find_vtab` looks.

    Raises:
        DatasetNotFoundError: If VTAB-1k has no such task.
    """
    return tuple(data_root / parent / folder for parent in VTAB_PARENTS for folder in _task(name).names)


def load_vtab(name: str, root: Path) -> Dataset:
    """Load a task by name or alias: train800 for training, val200 for validation; only `load_test` reads test.txt.

    Raises:
        DatasetNotFoundError: If VTAB-1k has no such task.
        DataError: If a list is missing or wrong, or an image that it names is missing.
    """
    task = _task(name)
    lists = {file: _read(root, file, task) for file in _EXPECTED_IMAGES}
    train, validation = (found.split for found in lists.values())
    twice = sorted(set(train.paths) & set(validation.paths))
    if twice:
        raise DataError(
            f"{root / 'val200.txt'} lists {counted(len(twice), 'images')} that train800.txt lists too, as {twice[0]}.",
            "An image may be in one of them only.",
        )
    notes = [f"VTAB-1k's {task.name} is read from {root}: its fixed 800 training and 200 validation images."]
    for file, expected in _EXPECTED_IMAGES.items():
        if len(lists[file].split) != expected:
            notes.append(
                f"{root / file} lists {len(lists[file].split):,} images, where VTAB-1k has {expected}: accuracies are "
                "not comparable with published ones."
            )
    classes = read_class_names(root / "classes.txt", task.classes, task.name)
    notes += [note for note in (untrained_note(train, classes), lossy_note(train.paths)) if note]
    return Dataset(task.name, classes, train, validation, partial(_load_test, root, task), tuple(notes))


def _load_test(root: Path, task: VtabTask) -> Split:
    return _read(root, "test.txt", task).split


def _read(root: Path, file: str, task: VtabTask) -> ImageList:
    return read_list(root / file, (root,), classes=task.classes, dataset=task.name, layout=LAYOUT)


def _task(name: str) -> VtabTask:
    task = find_vtab_task(name)
    if task is None:
        raise DatasetNotFoundError(f"VTAB-1k has no task {name}.", "`noah datasets` lists all names.")
    return task
