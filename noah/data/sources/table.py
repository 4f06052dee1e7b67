"""A person's own table of images: labels.csv, .tsv, .jsonl or .parquet, with a path and a label in each row.

A column may name the split of each image, and another the group that must not be parted, such as a patient.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from noah.data.dataset import Dataset
from noah.data.sources.division import Labeled, divide, number_labels, order_labels
from noah.data.sources.source import Source
from noah.data.sources.split_names import Role
from noah.data.sources.tables.cells import is_table_path, open_cells
from noah.data.sources.tables.columns import choose_columns
from noah.data.sources.tables.rows import Row, read_rows
from noah.data.split import FileSplit
from noah.errors import DataError
from noah.files.foreign_text import is_utf8, printable
from noah.settings.settings import ColumnSettings, DataSettings


def load_table(
    path: Path,
    columns: ColumnSettings,
    *,
    seed: int,
    validation_fraction: float,
    test_fraction: float,
    groups: str | None = None,
) -> Dataset:
    """Load the images that a table lists; paths are relative to the table, and no image is opened.

    Args:
        path: The table.
        columns: What its columns are called.
        seed: Draws the splits that the table does not name.
        validation_fraction: The fraction of the images not for testing, if the table names none for validation.
        test_fraction: The fraction of all images, if the table names no splits.
        groups: A regular expression that finds groups in paths below the table's folder, see `match_groups`.

    Raises:
        DatasetNotFoundError: If there is no such table.
        DataError: If something in it is wrong; all wrong rows are told together.
        MissingPackageError: If it is a Parquet file, and pyarrow is not installed.
        UsageError: If a fraction is not between 0 and 1.
    """
    if not is_utf8(path.resolve()):
        raise DataError(f"The path {printable(path.resolve())} is not valid UTF-8.", "Rename the file or folder.")
    cells = open_cells(path)
    chosen = choose_columns(cells.columns, columns, path)
    read = read_rows(cells, chosen, path.parent)
    labels = [row.label for row in read.rows]
    classes, order = order_labels(labels)
    labeled = Labeled(
        name=f"{path.resolve().parent.name}-{path.stem}".strip("-"),
        where=str(path),
        classes=classes,
        images=FileSplit(tuple(row.path for row in read.rows), number_labels(labels, classes)),
        roles=given_roles(read.rows),
        groups=[row.group for row in read.rows],
        group_column=chosen.group,
        pattern=groups,
        root=path.parent,
        order=order,
    )
    return divide(labeled, seed, validation_fraction, test_fraction, [chosen.note(path), *read.notes])


def given_roles(rows: Sequence[Row]) -> list[Role] | None:
    """The split of each row; None if the table names none, which it does for all or for none."""
    roles = [row.role for row in rows if row.role is not None]
    return roles if len(roles) == len(rows) else None


def is_table(data: DataSettings) -> bool:
    """Whether the path has the suffix of a table, and is no folder."""
    return is_table_path(Path(data.folder or ""))


def _load(data: DataSettings, seed: int) -> Dataset:
    return load_table(
        Path(str(data.folder)),
        data.columns,
        seed=seed,
        validation_fraction=data.validation_fraction,
        test_fraction=data.test_fraction,
        groups=data.groups,
    )


SOURCE = Source("a table", is_table, _load, takes=frozenset({"columns", "groups"}))
