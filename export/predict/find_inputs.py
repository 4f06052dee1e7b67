"""Finds the images, archives and tables that names stand for, on this machine and at addresses, for parts of them."""

from __future__ import annotations

import glob
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from export.predict.image_paths import STANDARD_INPUT, files_below, nothing_found, read_list, read_table
from export.predict.image_tables import ImageTable, find_image_table
from export.predict.parts import Inputs
from noah.data.formats import is_image_path
from noah.data.sources.shards import spell_out
from noah.data.sources.tables.cells import TABLE_SUFFIXES
from noah.errors import DataError, UsageError
from noah.files.addresses import fetch, is_address, not_reached, open_address
from noah.progress import counted
from noah.settings.settings import ColumnSettings

_ARCHIVE = ".tar"
_PARQUET = ".parquet"


def find_inputs(
    patterns: Sequence[str], columns: ColumnSettings | None = None, standard_input: BinaryIO | None = None
) -> Inputs:
    """Resolve every name: what `find_images` takes, the same at addresses, and archives and tables of images.

    A folder also stands for the tar archives below it, and where it has neither images nor archives, for its Parquet
    tables. A pattern may have braces, as {000..099}. No image is opened; of tables only the columns are looked at.

    Args:
        patterns: As typed; a relative pattern gives relative names.
        columns: What the column of paths or of images is called in tables; by default it is found by its name.
        standard_input: Where `-` is read from; None for nothing.

    Raises:
        UsageError: If a pattern matches nothing.
        DataError: If a folder cannot be listed, or a table cannot be read.
        MissingPackageError: If a package for an address or a table is not installed.
        NoahError: If a store cannot be reached.
    """
    found = _Found(columns or ColumnSettings())
    for pattern in patterns:
        before = found.count
        if pattern == STANDARD_INPUT:
            found.add_files(read_list(standard_input))
        else:
            found.add(pattern)
        if found.count == before:
            raise _nothing_at(pattern)
    return Inputs(tuple(found.files.values()), tuple(found.archives.values()), tuple(found.tables), tuple(found.notes))


class _Found:
    """What was found so far; of everything that is on this machine the absolute path tells whether it is the same."""

    def __init__(self, columns: ColumnSettings) -> None:
        self.files: dict[str, str] = {}
        self.archives: dict[str, str] = {}
        self.tables: list[ImageTable] = []
        self.notes: list[str] = []
        self._columns = columns
        self._seen_tables: set[str] = set()
        self.count = 0

    def add(self, pattern: str) -> None:
        names, chosen = _matches(pattern)
        images = [name for name in names if is_image_path(name)]
        archives = [name for name in names if _suffix(name) == _ARCHIVE]
        tables = [name for name in names if _suffix(name) in TABLE_SUFFIXES]
        if chosen:  # by its name, so that it is an image whatever that is
            images = [name for name in names if name not in (*archives, *tables)]
        elif images or archives:
            tables = []
        if archives and not chosen and images:
            self.notes.append(
                f"{pattern} stands for {counted(len(images), 'files')} and {counted(len(archives), 'archives')}."
            )
        elif tables and not chosen:
            self.notes.append(f"{pattern} stands for {counted(len(tables), 'tables')}: it has no images and archives.")
        self.add_files(images)
        for name in archives:
            self.archives.setdefault(_identity(name), name)
            self.count += 1
        for name in tables:
            self._add_table(name)

    def add_files(self, names: Iterable[str]) -> None:
        for name in names:
            shown = name if is_address(name) else str(Path(name))  # as `find_images` shows it
            self.files.setdefault(_identity(name), shown)
            self.count += 1

    def _add_table(self, name: str) -> None:
        if _identity(name) in self._seen_tables:
            self.count += 1  # it stands for something, and was looked at before
            return
        self._seen_tables.add(_identity(name))
        table = find_image_table(name, self._columns) if _suffix(name) == _PARQUET else None
        if table is not None:
            self.tables.append(table)
            self.count += sum(table.rows)
            return
        folder = name.rpartition("/")[0] if is_address(name) else str(Path(name).parent)
        with tempfile.TemporaryDirectory(prefix="noah-") as scratch:
            path = fetch(name, Path(scratch)) if is_address(name) else Path(name)
            try:
                listed = read_table(path, self._columns)
            except DataError as error:
                raise DataError(error.problem.replace(str(path), name), error.hint) from error
        self.add_files(_beside(folder, path) for path in listed)


def _beside(folder: str, path: str) -> str:
    """A path in a table that lies in a folder."""
    if is_address(path):
        return path
    return f"{folder}/{path}" if is_address(folder) else str(Path(folder) / path)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _identity(name: str) -> str:
    return name if is_address(name) else os.path.abspath(name)  # noqa: PTH100 -- resolve() would merge links


def _is_input(name: str) -> bool:
    return is_image_path(name) or _suffix(name) in (_ARCHIVE, _PARQUET)


def _matches(pattern: str) -> tuple[list[str], bool]:
    """List the files that one pattern stands for, sorted, and say whether each was chosen by its own name.

    Raises:
        UsageError: If one that braces spell out does not exist, or they make too many names.
        NoahError: If a store cannot be reached.
    """
    if not pattern:  # an empty name comes from a variable that was never set
        return [], False
    below, exists, match = _remote(pattern) if is_address(pattern) else (_local_below, os.path.exists, _local_glob)
    if exists(pattern):
        listed = below(pattern)
        return (sorted(listed), False) if listed is not None else ([pattern], True)
    found: list[str] = []
    spelled = spell_out(pattern)
    for each in spelled:
        if glob.has_magic(each):
            for name in match(each):
                inside = below(name)
                found += [name] if inside is None and _is_input(name) else inside or []
        elif each != pattern:  # which exists as little as the whole
            if not exists(each):
                raise UsageError(f"{each} does not exist.", f"Check the pattern {pattern}.")
            inside = below(each)
            found += [each] if inside is None else inside
    return sorted(dict.fromkeys(found)), False


def _local_below(name: str) -> list[str] | None:
    """The files in a folder; None for what is no folder."""
    return files_below(name, _is_input) if Path(name).is_dir() else None


def _local_glob(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207 -- Path.glob takes no absolute pattern


def _remote(
    pattern: str,
) -> tuple[Callable[[str], list[str] | None], Callable[[str], bool], Callable[[str], list[str]]]:
    """The same three questions, to a store."""
    files, _ = open_address(pattern)
    sign = re.search(r"[*?\[{]", pattern)
    base = (pattern[: sign.start()].rpartition("/")[0] if sign else pattern).rstrip("/")
    root = str(files._strip_protocol(base))

    def asked(question: Callable[[Any], Any], name: str) -> Any:
        try:
            return question(name)
        except FileNotFoundError:
            return None
        except Exception as error:  # each store has errors of its own
            raise not_reached(pattern, error) from error

    def shown(path: str) -> str:
        """An address that begins as it was typed."""
        return f"{base}/{path.removeprefix(root).lstrip('/')}"

    def below(name: str) -> list[str] | None:
        if not asked(files.isdir, name):
            return None
        start = len(str(files._strip_protocol(name)))
        found = (path for path in asked(files.find, name) or [] if _is_input(path))
        return [shown(path) for path in found if not any(part.startswith(".") for part in path[start:].split("/"))]

    def exists(name: str) -> bool:
        return bool(asked(files.exists, name))

    def match(name: str) -> list[str]:
        return [shown(path) for path in asked(files.glob, name) or []]

    return below, exists, match


def _nothing_at(pattern: str) -> UsageError:
    if not is_address(pattern):
        return nothing_found(pattern)
    if _suffix(pattern) in TABLE_SUFFIXES:
        return UsageError(f"{pattern} does not exist, or lists no image.", "Check the address.")
    return UsageError(
        f"There are no images at {pattern}.", "Name a folder with .jpg, .png or other images, or .tar archives of them."
    )
