"""Finds the images in a folder that has one subfolder per class."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from noah.data.formats import is_image_path
from noah.data.sources.names import composed
from noah.data.split import FileSplit
from noah.errors import DataError, system_cause
from noah.files.foreign_text import is_utf8, printable
from noah.files.latest import is_runs_folder
from noah.progress import first_of

LAYOUT = (
    "noah expects FOLDER/<class>/<image>, or FOLDER/train/<class>/<image> with val and test beside train, if you have "
    "them."
)


Reading = Literal["top", "leaf"]
"""Which folder names the class of an image: the one at the top, or the one that the image lies in."""

_SYSTEM_FOLDERS = frozenset(
    {
        "#recycle",
        "$recycle.bin",
        ".ipynb_checkpoints",
        ".trashes",
        "@eadir",
        "__macosx",
        "lost+found",
        "system volume information",
    }
)
"""Folders that systems and programs make wherever people keep files, in lower case; some hold copies of images."""


@dataclass(frozen=True, slots=True)
class ClassFolders:
    """What a folder of class folders holds.

    Attributes:
        folder: The folder that was listed.
        reading: Which folder names the class of an image.
        images: The sorted paths of each class that has images; classes are sorted by name, in composed Unicode.
        empty: The names of class folders without images.
        other_reading: The classes as the other reading has them.
        respelled: Classes with several folders, whose names are the same but for how Unicode composes their letters.
        left_out: The names of folders, at any depth, that a system made or that hold noah's runs.
        ignored: The number of visible files below the folder whose names are not those of images.
    """

    folder: Path
    reading: Reading
    images: dict[str, list[Path]]
    empty: tuple[str, ...]
    other_reading: tuple[str, ...]
    respelled: tuple[str, ...]
    left_out: tuple[str, ...]
    ignored: int

    def split(self, classes: tuple[str, ...]) -> FileSplit:
        """All images, labeled by the position of their class in `classes`, which must contain every class found."""
        label_of = {name: label for label, name in enumerate(classes)}
        paths = tuple(path for found in self.images.values() for path in found)
        labels = [label_of[name] for name, found in self.images.items() for _ in found]
        return FileSplit(paths, np.array(labels, np.int64))


def find_classes(folder: Path, reading: Reading = "top") -> ClassFolders:
    """List the class folders of `folder` and, recursively, their images; no image is opened.

    Hidden files and folders are skipped, as are folders that a system made and noah's runs. Links are followed, except
    to folders further up the tree or already visited. Names that Unicode takes for the same are one class.

    Args:
        folder: Where the class folders are.
        reading: "leaf" makes each folder that images lie in a class, named by its path from `folder`.

    Raises:
        DataError: If there are no class folders, one has a name that cannot be stored, images lie beside them, or a
            folder cannot be listed.
    """
    listing = _list(folder)
    stray = [path.name for path in listing.files if is_image_path(path)]
    if stray:
        raise DataError(
            f"Images lie directly in {folder}, where no folder tells their class: {first_of(stray, 3)}.",
            LAYOUT,
        )
    if not listing.folders:
        raise DataError(f"{folder} holds no class folders.", LAYOUT)
    check_names(class_folders=listing.folders)
    left_out = list(listing.left_out)
    ignored = len(listing.files)
    top: dict[str, dict[Path, list[Path]]] = {}  # of each class folder, in composed Unicode: folder -> its images
    leaf: dict[str, dict[Path, list[Path]]] = {}
    for class_folder in listing.folders:
        below = _list_below(class_folder)
        images = [path for path in below.files if is_image_path(path)]
        ignored += len(below.files) - len(images)
        left_out += below.left_out
        top.setdefault(composed(class_folder.name), {})[class_folder] = images
        for path in images:
            leaf.setdefault(composed(path.parent.relative_to(folder).as_posix()), {}).setdefault(
                path.parent, []
            ).append(path)
    own, other = (top, leaf) if reading == "top" else (leaf, top)
    if reading == "leaf":
        check_names(
            class_folders=sorted({path for places in leaf.values() for place in places for path in _up(place, folder)})
        )
    merged = {name: sorted(path for paths in own[name].values() for path in paths) for name in sorted(own)}
    return ClassFolders(
        folder,
        reading,
        images={name: paths for name, paths in merged.items() if paths},
        empty=tuple(sorted(name for name, places in top.items() if not any(places.values()))),
        other_reading=tuple(sorted(name for name, places in other.items() if any(places.values()))),
        respelled=tuple(name for name in merged if sum(map(bool, own[name].values())) > 1),
        left_out=tuple(dict.fromkeys(path.name for path in sorted(left_out))),
        ignored=ignored,
    )


def _up(place: Path, folder: Path) -> list[Path]:
    """The folders from `place` up to `folder`, without that one."""
    return [path for path in (place, *place.parents) if folder in path.parents]


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
    """List the folders in a folder that may be a person's, and its other visible entries, each sorted by name.

    Hidden folders, folders that a system made, and noah's runs are not listed.

    Raises:
        DataError: If the folder cannot be listed.
    """
    listing = _list(folder)
    return listing.folders, listing.files


@dataclass(frozen=True, slots=True)
class _Listing:
    """What a folder holds, sorted: folders and other entries that count, and folders that never do."""

    folders: list[Path]
    files: list[Path]
    left_out: list[Path]


def _list(folder: Path) -> _Listing:
    found = _Listing([], [], [])
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = folder / entry.name
                # Path.is_dir follows links and returns False if a link leads nowhere or to itself.
                if path.is_dir() if entry.is_symlink() else entry.is_dir():
                    if entry.name.lower() in _SYSTEM_FOLDERS or is_runs_folder(path):
                        found.left_out.append(path)
                    elif not entry.name.startswith("."):
                        found.folders.append(path)
                elif not entry.name.startswith("."):
                    found.files.append(path)
    except OSError as error:
        raise DataError(f"Cannot list {folder}: {system_cause(error)}.") from error
    return _Listing(sorted(found.folders), sorted(found.files), sorted(found.left_out))


def _list_below(folder: Path) -> _Listing:
    """All visible files below a folder, sorted, and the folders that were left out; no folder is told."""
    seen = {_identity(parent) for parent in (*folder.absolute().parents, *folder.resolve().parents)}
    found = _Listing([], [], [])
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        if _identity(current) not in seen:
            seen.add(_identity(current))
            listing = _list(current)
            found.files.extend(listing.files)
            found.left_out.extend(listing.left_out)
            waiting += reversed(listing.folders)
    return _Listing([], sorted(found.files), sorted(found.left_out))


def _identity(folder: Path) -> tuple[int, int]:
    """Device and inode, which are the same for all paths to one folder."""
    status = folder.stat()
    return status.st_dev, status.st_ino
