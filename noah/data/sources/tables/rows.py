"""The rows of a table as images with labels: every mistake is found before one is told."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from pathlib import Path

from noah.data.sources.mistakes import Mistakes, quoted
from noah.data.sources.names import composed, group_name
from noah.data.sources.split_names import SPELLINGS, Role, role_of
from noah.data.sources.tables.cells import Cell, Cells
from noah.data.sources.tables.columns import Columns
from noah.errors import DataError


@dataclass(frozen=True, slots=True)
class Row:
    """One image of a table.

    Attributes:
        place: Where the table has it, such as "line 12".
        path: Of the image, which exists.
        label: The name of its class, in composed Unicode.
        role: The split that it is for; None if the table says none.
        group: What it has in common with images that must be on the same side of a split; None if the table says none.
    """

    place: str
    path: Path
    label: str
    role: Role | None
    group: str | None


@dataclass(frozen=True, slots=True)
class Rows:
    """All images of a table, in its order, each once; and one sentence for each thing that is worth a note."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...]


def read_rows(cells: Cells, columns: Columns, folder: Path) -> Rows:
    """Read and check every row; no image is opened.

    Args:
        cells: The open table.
        columns: Which of its columns hold what.
        folder: What paths are relative to. Paths that are not relative are taken as they are, because a person's own
            table may name any file that this person can read.

    Raises:
        DataError: If there is no row, or some are wrong: without a path or label, with an unknown split, with a file
            that does not exist, or with the path of an earlier row but not its label, split and group.
    """
    mistakes = Mistakes(cells.file)
    wanted = list(dict.fromkeys(name for name in (columns.path, columns.label, columns.split, columns.group) if name))
    rows: dict[str, Row] = {}
    roles, repeats, backslashes, missing_split = 0, 0, 0, ""
    for place, found in cells.rows(wanted, mistakes):
        cell = dict(zip(wanted, found, strict=True))
        label = _label(cell[columns.label], columns.label, place, mistakes)
        path, turned = _image(cell[columns.path], columns.path, folder, place, mistakes)
        split = cell[columns.split] if columns.split else None
        role = role_of(split) if split else None
        if split and role is None:
            mistakes.add(place, f"{quoted(split)} is no split", f"Splits are called {SPELLINGS}.")
        if columns.split and split is None:
            missing_split = missing_split or place
        roles += split is not None
        if path is None or label is None:
            continue
        backslashes += turned
        row = Row(place, path, label, role, group_name(cell[columns.group]) if columns.group else None)
        earlier = rows.setdefault(os.path.normpath(path), row)
        if earlier is not row:
            repeats += 1
            _compare(row, earlier, mistakes)
    if roles and missing_split:
        mistakes.add(missing_split, f"no {quoted(str(columns.split))}", "Name the split of every image, or of none.")
    mistakes.refuse()
    if not rows:
        raise DataError(f"{cells.file} lists no image.", "Each row after the names of the columns is an image.")
    notes = list(cells.notes)
    if repeats:
        times = "1 row repeats an earlier one" if repeats == 1 else f"{repeats:,} rows repeat earlier ones"
        notes.append(f"{times} of {cells.file}; each image counts once.")
    if backslashes:
        notes.append(f"{backslashes:,} paths of {cells.file} are written with backslashes, which are read as slashes.")
    return Rows(tuple(rows.values()), tuple(notes))


def _label(text: Cell, column: str, place: str, mistakes: Mistakes) -> str | None:
    if text is None:
        mistakes.add(place, f"no {quoted(column)}")
        return None
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        mistakes.add(place, f"the label {quoted(text)} holds what cannot be printed")
        return None
    return composed(text)


def _image(text: Cell, column: str, folder: Path, place: str, mistakes: Mistakes) -> tuple[Path | None, bool]:
    """The file that a row names, if there is one, and whether its backslashes had to be turned."""
    if text is None:
        mistakes.add(place, f"no {quoted(column)}")
        return None, False
    for turned, name in ((False, text), (True, text.replace("\\", "/"))):
        path = folder / name
        if os.path.isfile(path):  # noqa: PTH113  # unlike Path's, it is False for names that no system takes
            return path, turned
    state = "is a folder" if os.path.isdir(folder / text) else "does not exist"  # noqa: PTH112  # as above
    mistakes.add(place, f"{quoted(text)} {state}", f"Paths are relative to {folder}, the folder of the table.")
    return None, False


def _compare(row: Row, earlier: Row, mistakes: Mistakes) -> None:
    """Note in what a row contradicts an earlier one of the same image."""
    for what, one, other in (
        ("label", row.label, earlier.label),
        ("split", row.role, earlier.role),
        ("group", row.group, earlier.group),
    ):
        if one != other:
            image = quoted(row.path.name)
            here, there = quoted(str(one or "none")), quoted(str(other or "none"))
            mistakes.add(row.place, f"{image} has the {what} {here} here and {there} in {earlier.place}")
