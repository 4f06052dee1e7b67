"""The results of a sweep: one small file for each finished cell, so processes and machines need no coordination."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from noah.benchmark.cells import Cell
from noah.benchmark.suites import Suite
from noah.errors import RunError
from noah.files.atomic import write_json, write_text
from noah.files.bounded import LARGEST_JSON, parse_json, read_bounded


@dataclass(frozen=True, slots=True)
class Row:
    """The result of one cell.

    Attributes:
        cell: The cell that was run.
        correct: The number of test images that were classified correctly.
        total: The number of test images.
        parameters: The subnet's trainable parameters; the head is trained too but not counted.
        details: Everything else worth keeping: the subnet, hardware, versions, seconds of each stage.
    """

    cell: Cell
    correct: int
    total: int
    parameters: int
    details: dict[str, Any]

    @property
    def accuracy(self) -> float:
        """The share of test images that were classified correctly, 0..1."""
        return self.correct / self.total

    def to_json(self) -> dict[str, Any]:
        """The row as written to files."""
        counted = {"correct": self.correct, "total": self.total, "parameters": self.parameters}
        return {**self.cell.to_json(), "accuracy": self.accuracy, **counted, **self.details}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Self:
        """Read what `to_json` returned."""
        known = ("task", "method", "seed", "accuracy", "correct", "total", "parameters")
        details = {key: item for key, item in value.items() if key not in known}
        correct, total, parameters = (int(value[key]) for key in ("correct", "total", "parameters"))
        return cls(Cell.from_json(value), correct, total, parameters, details)


def row_path(folder: Path, cell: Cell) -> Path:
    """The file with a cell's row, in the folder of a sweep."""
    return folder / "rows" / f"{cell.file_name}.json"


def failure_path(folder: Path, cell: Cell) -> Path:
    """The file that says why a cell failed."""
    return folder / "rows" / f"{cell.file_name}.failed.txt"


def write_row(folder: Path, row: Row) -> None:
    """Write a row, and delete the record of an earlier failure of its cell."""
    write_json(row_path(folder, row.cell), row.to_json())
    failure_path(folder, row.cell).unlink(missing_ok=True)


def write_failure(folder: Path, cell: Cell, account: str) -> None:
    """Write why a cell failed."""
    write_text(failure_path(folder, cell), account.rstrip() + "\n")


def read_rows(folder: Path, suite: Suite | None = None) -> list[Row]:
    """Read all rows in the folder of a sweep, sorted by file name.

    Args:
        folder: The folder of the sweep.
        suite: If given, every row has to belong to one of its tasks.

    Raises:
        RunError: If a row is damaged, or does not belong to the suite.
    """
    rows = list(_read_rows(folder))
    strange = [] if suite is None else [row.cell for row in rows if row.cell.task not in suite.names]
    if suite and strange:
        raise RunError(
            f"{row_path(folder, strange[0])} does not belong to a task of the suite {suite.name}.",
            "Remove it, or name its suite.",
        )
    return rows


def _read_rows(folder: Path) -> Iterator[Row]:
    for path in sorted((folder / "rows").glob("*.json")):
        try:
            row = Row.from_json(parse_json(read_bounded(path, LARGEST_JSON)))
            if not 0 <= row.correct <= row.total or not row.total or row_path(folder, row.cell) != path:
                raise ValueError("its figures or its name do not fit")
        except (ValueError, AttributeError, KeyError, OverflowError, TypeError) as error:
            raise RunError(
                f"{path} is not a row of a sweep: {error}.", "Remove it, and its cell is run again."
            ) from error
        yield row
