"""Datasets of the library `datasets`, in memory-mapped files, as splits of labeled images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from noah.data.dataset import Dataset
from noah.data.decode import Source, open_image
from noah.data.sources.division import Labeled, divide, number_labels, order_labels, refuse_unknown
from noah.data.sources.mistakes import Mistakes, quoted, unlike_a_label
from noah.data.sources.names import composed, group_name, plain_value
from noah.data.sources.split_names import SPELLINGS, one_a_role, role_of
from noah.data.sources.tables.columns import USUAL_NAMES, Columns
from noah.data.split import Split, concatenate, with_groups
from noah.errors import DataError, MissingPackageError, UnreadableImageError
from noah.settings.settings import ColumnSettings, DataSettings

_LABELS = (*USUAL_NAMES["label"], "labels", "fine_label")


def import_datasets() -> Any:
    """The library `datasets`, which takes seconds to import.

    Raises:
        MissingPackageError: If it is not installed.
    """
    try:
        import datasets
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "These images are read by the package datasets, which is not installed.",
            "Type: pip install 'noah-prompt-search[datasets]'.",
        ) from error
    return datasets


@dataclass(frozen=True, slots=True, eq=False)
class ArrowSplit:
    """Images in a dataset of the library.

    Attributes:
        rows: A `datasets.Dataset` whose images are not decoded.
        column: Where its images are.
        labels: int64, (n,).
        prefix: Starts the images' names: number 12 is prefix/12.
    """

    rows: Any
    column: str
    labels: np.ndarray
    prefix: str

    numbered: ClassVar[bool] = True
    """Its images have no names but their numbers (`noah.data.split.numbered`)."""

    def __len__(self) -> int:
        return len(self.labels)

    def open(self, index: int) -> Image.Image:
        """Read and decode the bytes, or else the file that the dataset names."""
        return open_image(self.source(index))

    def source(self, index: int) -> Source:
        """The bytes, or else the path of the file that the dataset names."""
        cell = self.rows[index][self.column]
        if not cell or (cell.get("bytes") is None and not cell.get("path")):
            cause = "the dataset has no image here"
            raise UnreadableImageError(f"Cannot read {self.name(index)}: {cause}.", "Leave it out.", f"{cause}.")
        return BytesIO(cell["bytes"]) if cell.get("bytes") is not None else Path(cell["path"])

    def name(self, index: int) -> str:
        """The prefix and the index, such as beans/train/12."""
        return f"{self.prefix}/{index}"


Parts = Mapping[str, Callable[[], Any]]
"""What a dataset calls its splits, each with what opens it; the name is empty if there is only one."""


def load_arrow(name: str, where: str, parts: Parts, data: DataSettings, seed: int) -> Dataset:
    """Make a dataset of the library's splits; that for testing is not opened before `load_test`.

    Args:
        name: Of the dataset.
        where: Its path or name, for messages.
        parts: Its splits.
        data: Names its columns, and how splits are drawn.
        seed: Draws them.

    Raises:
        DataError: If splits or columns are not what they should be; of wrong labels, all are told together.
        UsageError: If a fraction is not between 0 and 1.
    """
    roles = {part: role for part in parts if (role := role_of(part))}
    unnamed = set(parts) == {""} or (len(parts) == 1 and not roles)
    if not unnamed and "train" not in roles.values():
        raise DataError(
            f"{where} has no split for training; its splits are {', '.join(map(quoted, parts))}.",
            f"Splits are called {SPELLINGS}.",
        )
    one_a_role([(role, part) for part, role in roles.items()], where)
    part_of = {role: part for part, role in roles.items()}
    used = [next(iter(parts))] if unnamed else [part_of[role] for role in ("train", "validation") if role in part_of]
    opened = [parts[part]() for part in used]
    columns = _choose(opened[0].features, data.columns, where)
    texts = [_labels(rows, columns, f"{where} {part}".strip()) for part, rows in zip(used, opened, strict=True)]
    classes, order = _classes(opened[0].features[columns.label], [label for labels in texts for label in labels])
    splits = [_split(*found, columns, classes, name) for found in zip(used, opened, texts, strict=True)]
    groups = [_cells(rows, columns.group) for rows in opened]
    labeled = Labeled(
        name=name,
        where=where,
        classes=classes,
        images=splits[0] if len(splits) == 1 else concatenate(*splits),
        roles=None if unnamed else [roles[part] for part, labels in zip(used, texts, strict=True) for _ in labels],
        groups=[group for cells in groups for group in cells],
        group_column=columns.group,
        load_test=(
            partial(_load_test, where, part_of["test"], parts, columns, classes, name) if "test" in part_of else None
        ),
        order=order,
    )
    notes = [columns.note(where)]
    unused = [part for part in parts if not unnamed and part not in roles]
    if unused:
        notes.append(f"Not used, because their names say no split: {', '.join(map(quoted, unused))}.")
    return divide(labeled, seed, data.validation_fraction, data.test_fraction, notes)


def _choose(features: Mapping[str, Any], asked: ColumnSettings, where: str) -> Columns:
    """Choose columns by what was asked for, by their types, and by their names."""
    datasets = import_datasets()
    pictures = [name for name, feature in features.items() if isinstance(feature, datasets.Image)]
    classes = [name for name, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    usual = [name for name in _LABELS if name in features]
    path = asked.path or (pictures[0] if len(pictures) == 1 else None)
    label = asked.label or (classes[0] if len(classes) == 1 else usual[0] if usual else None)
    group = asked.group if asked.group is not None else ("group" if "group" in features else None)
    typed = [name for name in (asked.path, asked.label, asked.group) if name]
    wrong = [f"no column {quoted(name)}" for name in typed if name not in features]
    if path is None or (path in features and path not in pictures):
        wrong.append("not exactly one column of images" if path is None else f"no images in the column {quoted(path)}")
    if label is None:
        wrong.append("no column for the label")
    if wrong or path is None or label is None:
        raise DataError(
            f"{where} has {' and '.join(wrong)}; its columns are: {', '.join(map(quoted, features)) or 'none'}.",
            "Name them with --columns path=NAME,label=NAME, and group=NAME if there is one.",
        )
    return Columns(path, label, group=group or None)


def _cells(rows: Any, column: str | None) -> list[str | None]:
    if column is None:
        return [None] * len(rows)
    return [group_name(value) for value in rows[column]]


def _labels(rows: Any, columns: Columns, where: str) -> list[str]:
    """The label of each row, by its name.

    Raises:
        DataError: If the split lacks a column that the first one has, or some labels are wrong.
    """
    missing = [name for name in (columns.path, columns.label, columns.group) if name and name not in rows.features]
    if missing:
        raise DataError(
            f"{where} has no column {' and no column '.join(map(quoted, missing))}, unlike the training images; its "
            f"columns are: {', '.join(map(quoted, rows.features))}.",
            "Add it to that split, or name other columns with --columns path=NAME,label=NAME; --columns group= leaves "
            "the groups out.",
        )
    feature, mistakes = rows.features[columns.label], Mistakes(where)
    names = getattr(feature, "names", None)
    labels: list[str] = []
    for index, value in enumerate(rows[columns.label]):
        if isinstance(value, int) and not isinstance(value, bool) and names is not None:
            value = names[value] if 0 <= value < len(names) else None  # -1 stands for a label that is kept secret
        value = plain_value(value)
        if value is None:
            mistakes.add(f"row {index}", f"no {quoted(columns.label)}")
        elif isinstance(value, str | int):
            labels.append(composed(str(value)))
        else:
            mistakes.add(f"row {index}", *unlike_a_label(columns.label, value))
    mistakes.refuse()
    return labels


def _classes(feature: Any, labels: Sequence[str]) -> tuple[tuple[str, ...], str]:
    """The classes that occur, in the dataset's own order if it has one."""
    names = getattr(feature, "names", None)
    if names is None:
        return order_labels(labels)
    present = set(labels)
    spelled = dict.fromkeys(composed(str(name).strip()) for name in names)  # of those that are the same, the first
    return tuple(name for name in spelled if name in present), "in the order of the dataset"


def _split(
    part: str, rows: Any, labels: Sequence[str], columns: Columns, classes: tuple[str, ...], name: str
) -> ArrowSplit:
    datasets = import_datasets()
    undecoded = rows.select_columns([columns.path]).cast_column(columns.path, datasets.Image(decode=False))
    return ArrowSplit(undecoded, columns.path, number_labels(labels, classes), f"{name}/{part}" if part else name)


def _load_test(where: str, part: str, parts: Parts, columns: Columns, classes: tuple[str, ...], name: str) -> Split:
    rows = parts[part]()
    labels = _labels(rows, columns, f"{where} {part}")
    refuse_unknown(f"{where} {part}", labels, classes)
    return with_groups(_split(part, rows, labels, columns, classes, name), _cells(rows, columns.group))
