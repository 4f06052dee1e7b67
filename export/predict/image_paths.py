"""Finds the images that file names, folders and globs stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from noah.data.decode import is_image_path
from noah.errors import DataError, UsageError


class FoundImages:
    """The paths of the images, kept as text, which takes a quarter of the memory, and made one by one on iteration."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self._names = names

    def __len__(self) -> int:
        """Number of images."""
        return len(self._names)

    def __iter__(self) -> Iterator[Path]:
        """The paths, one by one."""
        return map(Path, self._names)


def find_images(patterns: Sequence[str]) -> FoundImages:
    """Resolve every pattern and give the paths, each file once.

    A file that is named directly is taken whatever its suffix. A folder stands for every image below it, including
    linked folders but not names that begin with a dot. A glob, which may contain `**`, stands for the images and
    folders that it matches. Patterns keep their order; the paths of one pattern are sorted.

    Args:
        patterns: As typed; a relative pattern gives relative paths.

    Raises:
        UsageError: If a pattern matches no image; raised by the call, before the first path.
        DataError: If a folder cannot be listed; likewise.
    """
    found: dict[str, str] = {}  # absolute path -> path as typed
    for pattern in patterns:
        matches = _matches(pattern)
        if not matches:
            raise _nothing_found(pattern)
        for path in matches:
            absolute = os.path.abspath(path)  # noqa: PTH100 -- resolve() would merge links with targets
            found.setdefault(absolute, absolute if path == absolute else path)
    return FoundImages(tuple(found.values()))


def _matches(pattern: str) -> list[str]:
    """List everything that one pattern stands for, sorted."""
    if not pattern:  # Path("") would be the working folder; an empty name comes from a variable that was never set
        return []
    if Path(pattern).is_dir():
        return _images_below(pattern)
    if Path(pattern).exists():  # before globbing: a file may be called img[1].jpg
        return [pattern]
    images: list[str] = []
    for path in glob.iglob(pattern, recursive=True):  # noqa: PTH207 -- Path.glob takes no absolute pattern
        if Path(path).is_dir():
            images += _images_below(path)
        elif is_image_path(path):
            images.append(path)
    return sorted(images)


def _images_below(folder: str) -> list[str]:
    """List the images in a folder and all folders below it, sorted; each folder is visited once even if links loop."""
    images: list[str] = []
    walked: set[Path] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        real = Path(parent).resolve()
        if real in walked:
            folders.clear()
            continue
        walked.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images += [str(Path(parent, name)) for name in files if is_image_path(name) and not name.startswith(".")]
    return sorted(images)


def _refuse(error: OSError) -> None:
    """Report a folder that cannot be listed; os.walk would skip it silently."""
    raise DataError(f"Cannot list the folder {error.filename}: {error.strerror}.") from error


def _nothing_found(pattern: str) -> UsageError:
    if not pattern:
        return UsageError("One of the names is empty.", "Name images, folders or globs such as 'photos/**/*.jpg'.")
    if Path(pattern).is_dir():
        return UsageError(f"The folder {pattern} holds no images.", "Name a folder with .jpg, .png or other images.")
    if glob.has_magic(pattern):
        return UsageError(
            f"The pattern {pattern} matches no images.", "Try '**/*.jpg' for the images of all subfolders."
        )
    return UsageError(f"No such file or folder: {pattern}.", "Name images, folders or globs such as 'photos/**/*.jpg'.")
