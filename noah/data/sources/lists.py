"""Reads text files with lines "<image path> <label>", and says which line is wrong.

VTAB-1k, the few-shot datasets and ImageNet's variants come as such lists; image paths may contain spaces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np

from noah.data.split import FileSplit
from noah.errors import DataError, system_cause
from noah.files.bounded import read_bounded

LARGEST_LIST = 2**27
"""In bytes; twice the size of the list of ImageNet's training images."""
_LONGEST_LABEL = 9
"""The most digits that a label may have."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageList:
    """The content of one list, whose images have been found on the disk.

    Attributes:
        file: The path of the list.
        images: The paths as they are listed, each once.
        split: The images in the order of the list.
        repeats: How many lines repeat an earlier line.
    """

    file: Path
    images: tuple[PurePosixPath, ...]
    split: FileSplit
    repeats: int


def read_list(
    path: Path,
    folders: Sequence[Path],
    *,
    classes: int | None,
    dataset: str,
    layout: str,
    allow_repeats: bool = False,
) -> ImageList:
    """Read one list and check that its images are there; no image is opened.

    Args:
        path: The list, in UTF-8, with or without a byte order mark, with any line endings; blank lines do not count.
        folders: The folders that its paths are relative to; each image is taken from the first folder that has it.
        classes: The number of different labels; None accepts any.
        dataset: The name of the dataset in error messages.
        layout: One sentence about the layout, as a hint in error messages.
        allow_repeats: Whether to ignore a line that repeats an earlier one, instead of refusing it.

    Raises:
        DataError: If the list is missing or not text, a line is wrong, or an image that it names is missing.
    """
    lines: dict[PurePosixPath, int] = {}
    labels: dict[PurePosixPath, int] = {}
    repeats = 0
    for number, line in read_lines(path, layout):
        image, label = _parse(line, f"{path}, line {number}", classes, dataset, layout)
        if image not in lines:
            lines[image], labels[image] = number, label
        elif labels[image] != label and allow_repeats:
            raise DataError(
                f"{path}, line {number}: {image} has the label {label} here and {labels[image]} in line {lines[image]}."
            )
        elif allow_repeats:
            repeats += 1
        else:
            raise DataError(f"{path}, line {number}: {image} is listed already in line {lines[image]}.")
    if not lines:
        raise DataError(f"{path} lists no image.", layout)
    split = FileSplit(_find_images(path, folders, lines), np.array(list(labels.values()), np.int64))
    return ImageList(path, tuple(lines), split, repeats)


def read_lines(path: Path, layout: str = "") -> list[tuple[int, str]]:
    """Read the lines that are not blank, with their numbers; a byte order mark and Windows line endings do no harm.

    Raises:
        DataError: If the file is missing or not UTF-8 text; `layout` is the hint.
    """
    try:
        text = read_bounded(path, LARGEST_LIST).decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError(f"{path} is missing.", layout) from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not a UTF-8 text file.", layout) from None
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}.", layout) from None
    except OSError as error:
        raise DataError(f"Cannot read {path}: {system_cause(error)}.") from error
    return [(number, line.strip()) for number, line in enumerate(text.split("\n"), 1) if line.strip()]


def read_class_names(path: Path, count: int, dataset: str) -> tuple[str, ...]:
    """Read the names in classes.txt, one per line; without that file, the names are the label numbers.

    Raises:
        DataError: If the file does not hold `count` different names.
    """
    if not path.exists():
        return tuple(map(str, range(count)))
    names = tuple(name for _, name in read_lines(path))
    if len(names) != count or len(set(names)) != len(names):
        raise DataError(
            f"{path} holds {len(set(names))} different names; {dataset} has {count} classes.",
            "Write one name per line in the order of the labels, or remove the file.",
        )
    return names


def _parse(line: str, place: str, classes: int | None, dataset: str, layout: str) -> tuple[PurePosixPath, int]:
    """Split "<image path> <label>" at its last space."""
    parts = line.rsplit(maxsplit=1)
    if len(parts) != 2 or not (parts[1].isascii() and parts[1].isdecimal()):
        raise DataError(f"{place}: '{line}' is not of the form '<image path> <label>'.", layout)
    if len(parts[1].lstrip("0")) > _LONGEST_LABEL:
        raise DataError(f"{place}: the label {parts[1][:20]}... is too large.", layout)
    image, label = PurePosixPath(parts[0]), int(parts[1].lstrip("0") or "0")
    if image.is_absolute() or PureWindowsPath(parts[0]).anchor or ".." in image.parts:
        raise DataError(
            f"{place}: the path {image} leads out of the folder.", "Paths are relative to the folder of the images."
        )
    if classes is not None and label >= classes:
        raise DataError(
            f"{place}: label {label} is too large; {dataset} has the {classes} labels 0 to {classes - 1}.",
            "Check that this is the folder of that dataset.",
        )
    return image, label


def _is_file(path: Path) -> bool:
    """Whether there is such a file; False for a name that the system does not accept."""
    try:
        return path.is_file()
    except OSError:
        return False


def _find_images(path: Path, folders: Sequence[Path], lines: dict[PurePosixPath, int]) -> tuple[Path, ...]:
    """Find the file of each listed image."""
    found: list[Path] = []
    missing: list[PurePosixPath] = []
    for image in lines:
        file = next((folder / image for folder in folders if _is_file(folder / image)), None)
        if file is None:
            missing.append(image)
        else:
            found.append(file)
    if missing:
        shown = ", ".join(f"{image} (line {lines[image]})" for image in missing[:3])
        images = f"{len(missing):,} images that do" if len(missing) > 1 else "1 image that does"
        raise DataError(
            f"{path} lists {images} not exist below {' or '.join(map(str, folders))}: "
            f"{shown}{', ...' if len(missing) > 3 else ''}.",
            f"Put the images of this dataset into {folders[0]}.",
        )
    return tuple(found)
