"""Writes predictions batch by batch as CSV, JSON Lines or Parquet, in constant memory.

A file gets its final name only when everything has been written; an interrupted run leaves no file of that name.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import numpy.typing as npt

from export.predict.image_batches import Item
from noah.errors import MissingPackageError, UsageError
from noah.files.atomic import atomic_file
from noah.files.foreign_text import csv_text, printable
from noah.files.json_text import json_line

FORMATS = ("csv", "jsonl", "parquet")
ROWS_IN_A_GROUP = 8192
"""Rows in a Parquet row group: enough to compress well, few enough to hold in memory."""

_FIRST = 3
"""How many columns every table has: path, label and probability."""

Probabilities = npt.NDArray[np.float32]


class PredictionWriter(Protocol):
    """Takes the predictions of one batch after another."""

    def write(
        self,
        paths: Sequence[Item],
        labels: Sequence[Sequence[str]],
        probabilities: Probabilities,
        called: Sequence[str] | None = None,
    ) -> None:
        """Write one row per image.

        Args:
            paths: The B images.
            labels: The `top_k` labels of each image, the most likely first.
            probabilities: Float (B, top_k), in the order of `labels`.
            called: What each image is called instead of by its likeliest label, for a writer opened with `renames`.
        """


@contextmanager
def open_writer(
    path: Path | None,
    *,
    format: str | None = None,  # noqa: A002 -- named as the option of the command line
    top_k: int = 1,
    renames: bool = False,
) -> Iterator[PredictionWriter]:
    r"""Open a file for predictions; it gets its name when the block ends without an exception.

    Columns are path, label and probability, then label_2, probability_2 and so on up to `top_k`. JSON Lines hold path,
    label and probability too, and with `top_k` above 1 a list `top` of {label, probability}. With `renames` and `top_k`
    above 1, where the label may be another than the likeliest class, this stands in label_1 too. Text has 6 significant
    digits. Bytes of a file name that are not UTF-8 appear as \xff. In CSV a path or label that begins as a formula
    does, with one of = + - @, stands behind an apostrophe, so that no spreadsheet runs it.

    Args:
        path: The file to write, replaced if it exists; its folder is created. None writes CSV to standard output.
        format: csv, jsonl or parquet; None decides by the suffix.
        top_k: Labels per image, at least 1.
        renames: Whether images may be called otherwise than by their likeliest label.

    Raises:
        UsageError: The suffix or `format` is none of the three, or `path` cannot be a file.
        MissingPackageError: Parquet is asked for, and pyarrow is not installed.
    """
    if top_k < 1:
        raise UsageError(f"top_k is {top_k}, but must be at least 1.")
    kind, columns = _format(path, format), name_columns(top_k, renames=renames)
    if path is None:
        if kind == "parquet":
            raise UsageError("Parquet cannot go to standard output.", "Name a file: --out predictions.parquet")
        yield _TEXT_WRITERS[kind](sys.stdout, columns)
        sys.stdout.flush()
        return
    path = path.resolve()  # so that a link stays a link, and its target is replaced
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a file.", "Name a file, or leave --out off to write to standard output.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"Cannot make the folder {path.parent}: {error.strerror}.", "Name another --out.") from error
    with atomic_file(path) as temporary:
        if kind == "parquet":
            with ParquetWriter(temporary, columns) as writer:
                yield writer
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                yield _TEXT_WRITERS[kind](file, columns)


def _format(path: Path | None, asked: str | None) -> str:
    """Choose the format that was asked for, else that of the suffix, else CSV for standard output."""
    if asked is not None:
        if asked.lower() not in FORMATS:
            raise UsageError(f"Predictions cannot be written as {asked!r}.", f"Formats: {', '.join(FORMATS)}.")
        return asked.lower()
    if path is None:
        return "csv"
    kind = path.suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        suffixes = ", ".join(f".{known}" for known in FORMATS)
        raise UsageError(f"The suffix of {path.name} is not that of a prediction format.", f"Suffixes: {suffixes}.")
    return kind


class _CsvWriter:
    """Comma-separated values with a header and one line per image."""

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._columns = columns
        self._rows = csv.writer(file, lineterminator="\n")
        self._quoted_rows = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._rows.writerow(columns)

    def write(
        self,
        paths: Sequence[Item],
        labels: Sequence[Sequence[str]],
        probabilities: Probabilities,
        called: Sequence[str] | None = None,
    ) -> None:
        for row in _rows(self._columns, paths, labels, probabilities, called):
            cells = [csv_text(cell) if isinstance(cell, str) else f"{cell:.6g}" for cell in row]
            # The csv module does not quote a bare carriage return, which would end the row for a reader.
            rows = self._quoted_rows if any("\r" in cell for cell in cells) else self._rows
            rows.writerow(cells)


class _JsonLinesWriter:
    """One JSON object per image, each on its own line."""

    def __init__(self, file: TextIO, columns: Sequence[str]) -> None:
        self._file = file
        self._has_more = len(columns) > _FIRST

    def write(
        self,
        paths: Sequence[Item],
        labels: Sequence[Sequence[str]],
        probabilities: Probabilities,
        called: Sequence[str] | None = None,
    ) -> None:
        first = [names[0] for names in labels] if called is None else called
        for path, name, names, values in zip(paths, first, labels, probabilities.tolist(), strict=True):
            top = [
                {"label": label, "probability": float(f"{value:.6g}")}
                for label, value in zip(names, values, strict=True)
            ]
            row: dict[str, Any] = {"path": printable(str(path)), **top[0], "label": name}
            if self._has_more:
                row["top"] = top
            self._file.write(f"{json_line(row, self._file)}\n")


class ParquetWriter:
    """Row groups of `ROWS_IN_A_GROUP` rows, each written as soon as it is full.

    Args:
        path: The file, which is complete when the `with` block ends.
        columns: As `name_columns` gives them.

    Raises:
        MissingPackageError: If pyarrow is not installed.
    """

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                "Parquet is written by the package pyarrow, which is not installed.",
                "Type: pip install 'noah-prompt-search[parquet]'. CSV and JSON Lines go without: --out predictions.csv",
            ) from error
        number, text = pyarrow.float32(), pyarrow.string()
        self._schema = pyarrow.schema([(name, number if name.startswith("probability") else text) for name in columns])
        self._make_table = pyarrow.table
        self._file = parquet.ParquetWriter(path, self._schema)
        self._columns: list[list[Any]] = [[] for _ in self._schema.names]

    def __enter__(self) -> ParquetWriter:
        return self

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        if exception is None:
            self._write_group()
        self._file.close()

    def note(self, name: str, text: str) -> None:
        """Keep a text in the file's own metadata, beside the rows."""
        self._file.add_key_value_metadata({name: text})

    def write(
        self,
        paths: Sequence[Item],
        labels: Sequence[Sequence[str]],
        probabilities: Probabilities,
        called: Sequence[str] | None = None,
    ) -> None:
        """Write one row per image, as `PredictionWriter` says."""
        for row in _rows(self._schema.names, paths, labels, probabilities, called):
            for column, cell in zip(self._columns, row, strict=True):
                column.append(cell)
        if len(self._columns[0]) >= ROWS_IN_A_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        if self._columns[0]:
            self._file.write_table(self._make_table(self._columns, schema=self._schema))
            self._columns = [[] for _ in self._schema.names]


_TEXT_WRITERS: dict[str, Callable[[TextIO, Sequence[str]], PredictionWriter]] = {
    "csv": _CsvWriter,
    "jsonl": _JsonLinesWriter,
}


def name_columns(top_k: int, *, renames: bool) -> list[str]:
    """Name the columns: path, label, probability, label_2, probability_2 and so on; label_1 where it may differ."""
    ranks = range(1 if renames and top_k > 1 else 2, top_k + 1)
    suffixes = ["", *(f"_{rank}" for rank in ranks)]
    return ["path", *(f"{name}{suffix}" for suffix in suffixes for name in ("label", "probability"))]


def _rows(
    columns: Sequence[str],
    paths: Sequence[Item],
    labels: Sequence[Sequence[str]],
    probabilities: Probabilities,
    called: Sequence[str] | None,
) -> Iterator[list[str | float]]:
    """The cells of each row, in the order of the columns."""
    first = [names[0] for names in labels] if called is None else called
    repeated = len(columns) > _FIRST and columns[_FIRST] == "label_1"
    for path, name, names, values in zip(paths, first, labels, probabilities.tolist(), strict=True):
        row: list[str | float] = [printable(str(path)), name, values[0]]
        for label, value in list(zip(names, values, strict=True))[0 if repeated else 1 :]:
            row += [label, value]
        yield row
