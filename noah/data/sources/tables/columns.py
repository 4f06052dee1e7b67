"""Which columns of a table hold the paths, labels, splits and groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from noah.data.sources.mistakes import quoted
from noah.errors import DataError
from noah.settings.settings import ColumnSettings

USUAL_NAMES: Mapping[str, tuple[str, ...]] = {
    "path": ("path", "file_name", "filename", "filepath", "file", "image_path", "image"),
    "label": ("label", "class", "class_name", "category"),
    "split": ("split",),
    "group": ("group",),
}
"""What holds what, if nobody says otherwise: the first name that a table has, whatever its capitals."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Names of columns; None where there is none.

    Attributes:
        path: Where the images are.
        label: Their labels.
        split: Which split each is for.
        group: What must not be on both sides of a split.
    """

    path: str
    label: str
    split: str | None = None
    group: str | None = None

    def note(self, where: object) -> str:
        """Say which columns are read, in one sentence."""
        parts = [f"{self.path} for the path", f"{self.label} for the label"]
        parts += [f"{name} for the {use}" for use, name in (("split", self.split), ("group", self.group)) if name]
        return f"Columns of {where}: {', '.join(parts)}."


def choose_columns(
    found: Sequence[str], asked: ColumnSettings, where: object, usual: Mapping[str, tuple[str, ...]] = USUAL_NAMES
) -> Columns:
    """Choose columns, those that were asked for first, then those with usual names.

    Args:
        found: The names of all columns.
        asked: What the user typed.
        where: The table, for errors.
        usual: The usual names of each.

    Raises:
        DataError: If one that was asked for, or any for the path or the label, is not there; names all of them.
    """
    chosen = {use: _choose(use, found, asked, usual) for use in USUAL_NAMES}
    wrong = [f"no column {quoted(name)}" for name in asked.model_dump().values() if name and name not in found]
    wrong += [
        f"no column for the {use} ({', '.join(usual[use])})"
        for use in ("path", "label")
        if chosen[use] is None and not getattr(asked, use)
    ]
    path, label = chosen["path"], chosen["label"]
    if wrong or path is None or label is None:
        columns = ", ".join(quoted(name) for name in found[:20]) + (", ..." if len(found) > 20 else "")
        raise DataError(
            f"{where} has {' and '.join(wrong)}; its columns are: {columns or 'none'}.",
            "Name them with --columns path=NAME,label=NAME, and split=NAME or group=NAME if there are such.",
        )
    return Columns(path, label, chosen["split"], chosen["group"])


def choose_path(found: Sequence[str], asked: ColumnSettings, where: object) -> str:
    """Choose the column of the paths alone, where nobody needs labels.

    Raises:
        DataError: If there is none.
    """
    chosen = _choose("path", found, asked, USUAL_NAMES)
    if chosen is None:
        missing = quoted(asked.path) if asked.path else f"for the path ({', '.join(USUAL_NAMES['path'])})"
        columns = ", ".join(quoted(name) for name in found[:20]) + (", ..." if len(found) > 20 else "")
        raise DataError(
            f"{where} has no column {missing}; its columns are: {columns or 'none'}.",
            "Name it with --columns path=NAME.",
        )
    return chosen


def _choose(use: str, found: Sequence[str], asked: ColumnSettings, usual: Mapping[str, tuple[str, ...]]) -> str | None:
    name = getattr(asked, use)
    if name is not None:  # an empty name means that there shall be none, though a column may be called so
        return name if name and name in found else None
    taken = {other for other in asked.model_dump().values() if other}
    lower = {column.lower(): column for column in reversed(found) if column not in taken}
    return next((lower[name] for name in usual.get(use, ()) if name in lower), None)
