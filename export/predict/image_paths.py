"""Finds the images that file names, folders and globs stand for."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from noah.data.formats import is_image_path
from noah.data.sources.mistakes import Mistakes
from noah.data.sources.tables.cells import LARGEST_TABLE, TABLE_SUFFIXES, open_cells
from noah.data.sources.tables.columns import choose_path
from noah.errors import DataError, UsageError
from noah.files.addresses import is_address
from noah.settings.settings import ColumnSettings

STANDARD_INPUT = "-"
"""Stands for the list of paths on standard input; a file of this name is ./-"""


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


def find_images(
    patterns: Sequence[str], columns: ColumnSettings | None = None, standard_input: BinaryIO | None = None
) -> FoundImages:
    """Resolve every pattern and give the paths, each file once.

    A file that is named directly is taken whatever its suffix. A folder stands for every image below it, including
    linked folders but not names that begin with a dot. A glob, which may contain `**`, stands for the images and
    folders that it matches. Patterns keep their order; the paths of one pattern are sorted.

    A table stands for the paths in one of its columns, relative to the table, and `-` for the lines of standard input,
    both in their own order. Whether these files exist is not asked: those that cannot be read are told like any others.

    Args:
        patterns: As typed; a relative pattern gives relative paths.
        columns: What the column of paths is called; by default it is found by its name.
        standard_input: Where `-` is read from; None for nothing.

    Raises:
        UsageError: If a pattern matches no image; raised by the call, before the first path.
        DataError: If a folder cannot be listed, or a table or list cannot be read; likewise.
        MissingPackageError: If a table is a Parquet file, and pyarrow is not installed.
    """
    found: dict[str, str] = {}  # absolute path -> path as typed
    for pattern in patterns:
        matches = _stands_for(pattern, columns or ColumnSettings(), standard_input)
        if not matches:
            raise nothing_found(pattern)
        for path in matches:
            absolute = os.path.abspath(path)  # noqa: PTH100 -- resolve() would merge links with targets
            found.setdefault(absolute, absolute if path == absolute else path)
    return FoundImages(tuple(found.values()))


def _stands_for(pattern: str, columns: ColumnSettings, standard_input: BinaryIO | None) -> list[str]:
    """List everything that one argument stands for."""
    if pattern == STANDARD_INPUT:
        return read_list(standard_input)
    if Path(pattern).suffix.lower() in TABLE_SUFFIXES and Path(pattern).is_file():
        return [str(Path(pattern).parent / path) for path in read_table(Path(pattern), columns)]
    return _matches(pattern)


def read_list(standard_input: BinaryIO | None) -> list[str]:
    """The lines of a list of paths, in whatever encoding file names have here.

    Raises:
        DataError: If it is too long.
    """
    content = standard_input.read(LARGEST_TABLE + 1) if standard_input else b""
    if len(content) > LARGEST_TABLE:
        raise DataError(f"The list on standard input has more than {LARGEST_TABLE:,} bytes.", "Take a part of it.")
    lines = (line.removesuffix(b"\r") for line in content.split(b"\n"))
    return [os.fsdecode(line) for line in lines if line.strip()]


def read_table(table: Path, columns: ColumnSettings) -> list[str]:
    """The paths in a table, as they stand there.

    Raises:
        DataError: If it cannot be read, or has no column of paths.
        MissingPackageError: If it is a Parquet file, and pyarrow is not installed.
    """
    cells, mistakes = open_cells(table), Mistakes(table)
    chosen = choose_path(cells.columns, columns, table)
    paths = []
    for place, (path,) in cells.rows([chosen], mistakes):
        if path is None:
            mistakes.add(place, f"no {chosen}")
        else:
            paths.append(path)
    mistakes.refuse()
    return paths


def _matches(pattern: str) -> list[str]:
    """List everything that one pattern stands for, sorted."""
    if not pattern:  # Path("") would be the working folder; an empty name comes from a variable that was never set
        return []
    if Path(pattern).is_dir():
        return files_below(pattern, is_image_path)
    if Path(pattern).exists():  # before globbing: a file may be called img[1].jpg
        return [pattern]
    images: list[str] = []
    for path in glob.iglob(pattern, recursive=True):  # noqa: PTH207 -- Path.glob takes no absolute pattern
        if Path(path).is_dir():
            images += files_below(path, is_image_path)
        elif is_image_path(path):
            images.append(path)
    return sorted(images)


def files_below(folder: str, wanted: Callable[[str], bool]) -> list[str]:
    """List files in a folder and all folders below it, sorted; each folder is visited once even if links loop.

    Args:
        folder: The folder.
        wanted: Whether a file of this name is listed; those that begin with a dot never are.

    Raises:
        DataError: If a folder cannot be listed.
    """
    images: list[str] = []
    walked: set[Path] = set()
    for parent, folders, files in os.walk(folder, followlinks=True, onerror=_refuse):
        real = Path(parent).resolve()
        if real in walked:
            folders.clear()
            continue
        walked.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images += [str(Path(parent, name)) for name in files if wanted(name) and not name.startswith(".")]
    return sorted(images)


def _refuse(error: OSError) -> None:
    """Report a folder that cannot be listed; os.walk would skip it silently."""
    raise DataError(f"Cannot list the folder {error.filename}: {error.strerror}.") from error


def nothing_found(pattern: str) -> UsageError:
    """The error to raise where a pattern stands for no image."""
    if pattern == STANDARD_INPUT:
        return UsageError("Standard input lists no image.", "Write a path on each line, as `ls *.jpg` and `find` do.")
    if Path(pattern).suffix.lower() in TABLE_SUFFIXES and Path(pattern).is_file():
        return UsageError(
            f"The table {pattern} lists no image.", "Each row after the names of the columns is an image."
        )
    if not pattern:
        return UsageError("One of the names is empty.", "Name images, folders or globs such as 'photos/**/*.jpg'.")
    if Path(pattern).is_dir():
        return UsageError(f"The folder {pattern} holds no images.", "Name a folder with .jpg, .png or other images.")
    if glob.has_magic(pattern):
        return UsageError(
            f"The pattern {pattern} matches no images.", "Try '**/*.jpg' for the images of all subfolders."
        )
    if is_address(pattern):
        return UsageError(f"No such file or folder: {pattern}.", "Addresses are read with --ray.")
    return UsageError(f"No such file or folder: {pattern}.", "Name images, folders or globs such as 'photos/**/*.jpg'.")
