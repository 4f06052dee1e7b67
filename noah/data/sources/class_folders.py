"""Finds the images in a folder that has one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from noah.data.decode import is_image_path
from noah.data.split import FileSplit
from noah.errors import DataError, system_cause
from noah.files.foreign_text import is_utf8, printable

LAYOUT = (
    "noah expects FOLDER/<class>/<image>, or FOLDER/train/<class>/<image> with val and test beside train, if you have "
    "them."
)


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """What a folder of class folders holds.

    Attributes:
        folder: The folder that was listed.
        images: The sorted paths of each class; classes are sorted by name, and a class may have no images.
        ignored: The number of visible files below the folder whose names are not those of images.
    """

    folder: Path
    images: dict[str, list[Path]]
    ignored: int

    def split(self, classes: tuple[str, ...]) -> FileSplit:
        """All images, labeled by the position of their class in `classes`, which must contain every class found."""
        label_of = {name: label for label, name in enumerate(classes)}
        paths = tuple(path for found in self.images.values() for path in found)
        labels = [label_of[name] for name, found in self.images.items() for _ in found]
        return FileSplit(paths, np.array(labels, np.int64))


def find_classes(folder: Path) -> ClassFolders:
    """List the class folders of `folder` and, recursively, their images; no image is opened.

    Hidden files and folders are skipped. Links are followed, except to folders further up the tree or already visited.

    Raises:
        DataError: If there are no class folders, one has a name that cannot be stored, images lie beside them, or a
            folder cannot be listed.
    """
    folders, files = list_folder(folder)
    stray = [path.name for path in files if is_image_path(path)]
    if stray:
        raise DataError(
            f"Images lie directly in {folder}, where no folder tells their class: "
            f"{', '.join(stray[:3])}{f' and {len(stray) - 3:,} more' if len(stray) > 3 else ''}.",
            LAYOUT,
        )
    if not folders:
        raise DataError(f"{folder} holds no class folders.", LAYOUT)
    check_names(class_folders=folders)
    images: dict[str, list[Path]] = {}
    ignored = len(files)
    for class_folder in folders:
        below = _files_below(class_folder)
        images[class_folder.name] = [path for path in below if is_image_path(path)]
        ignored += len(below) - len(images[class_folder.name])
    return ClassFolders(folder, images, ignored)


def check_names(*, dataset: Path | None = None, class_folders: Sequence[Path] = ()) -> None:
    """Refuse names that files cannot hold, before any work is done.

    Args:
        dataset: The folder that the dataset is named after.
        class_folders: The folders that classes are named after.

    Raises:
        DataError: Some are not valid UTF-8; all are told.
    """
    wrong = [f"the class folder {printable(path)}" for path in class_folders if not is_utf8(path.name)]
    if dataset is not None and not is_utf8(dataset):
        wrong.insert(0, f"the folder {printable(dataset)}")
    if wrong:
        one = len(wrong) == 1
        raise DataError(
            f"The name of {wrong[0]} is not valid UTF-8."
            if one
            else f"{len(wrong)} names are not valid UTF-8: {', '.join(wrong)}.",
            f"Rename {'it' if one else 'them'}: datasets and classes are named after their folders, and files that "
            "noah writes could not hold such a name.",
        )


def list_folder(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the visible folders in a folder, and its other visible entries, each sorted by name.

    Raises:
        DataError: If the folder cannot be listed.
    """
    folders: list[Path] = []
    files: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    path = folder / entry.name
                    # Path.is_dir follows links and returns False if a link leads nowhere or to itself.
                    (folders if (path.is_dir() if entry.is_symlink() else entry.is_dir()) else files).append(path)
    except OSError as error:
        raise DataError(f"Cannot list {folder}: {system_cause(error)}.") from error
    return sorted(folders), sorted(files)


def _files_below(folder: Path) -> list[Path]:
    """All visible files below a folder, sorted."""
    seen = {_identity(parent) for parent in (*folder.absolute().parents, *folder.resolve().parents)}
    found: list[Path] = []
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        if _identity(current) not in seen:
            seen.add(_identity(current))
            folders, files = list_folder(current)
            found += files
            waiting += reversed(folders)
    return sorted(found)


def _identity(folder: Path) -> tuple[int, int]:
    """Device and inode, which are the same for all paths to one folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino
