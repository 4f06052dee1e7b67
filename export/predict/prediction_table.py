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

from noah.errors import MissingPackageError, UsageError
from noah.files.atomic import atomic_file
from noah.files.foreign_text import csv_text, printable
from noah.files.json_text import json_line

FORMATS = ("csv", "jsonl", "parquet")
ROWS_IN_A_GROUP = 8192
"""Rows in a Parquet row group: enough to compress well, few enough to hold in memory."""

Probabilities = npt.NDArray[np.float32]


class PredictionWriter(Protocol):
    """Takes the predictions of one batch after another."""

    def write(self, paths: Sequence[Path], labels: Sequence[Sequence[str]], probabilities: Probabilities) -> None:
        """Write one row per image.

        Args:
            paths: The B images.
            labels: The `top_k` labels of each image, the most likely first.
            probabilities: Float (B, top_k), in the order of `labels`.
        """


@contextmanager
def open_writer(
    path: Path | None,
    *,
    format: str | None = None,  # noqa: A002 -- named as the option of the command line
    top_k: int = 1,
) -> Iterator[PredictionWriter]:
    r"""Open a file for predictions; it gets its name when the block ends without an exception.

    Columns are path, label and probability, then label_2, probability_2 and so on up to `top_k`. JSON Lines hold path,
    label and probability too, and with `top_k` above 1 a list `top` of {label, probability}. Text has 6 significant
    digits. Bytes of a file name that are not UTF-8 appear as \xff. In CSV a path or label that begins as a formula
    does, with one of = + - @, stands behind an apostrophe, so that no spreadsheet runs it.

    Args:
        path: The file to write, replaced if it exists; its folder is created. None writes CSV to standard output.
        format: csv, jsonl or parquet; None decides by the suffix.
        top_k: Labels per image, at least 1.

    Raises:
        UsageError: The suffix or `format` is none of the three, or `path` cannot be a file.
        MissingPackageError: Parquet is asked for, and pyarrow is not installed.
    """
    if top_k < 1:
        raise UsageError(f"top_k is {top_k}, but must be at least 1.")
    kind = _format(path, format)
    if path is None:
        if kind == "parquet":
            raise UsageError("Parquet cannot go to standard output.", "Name a file: --out predictions.parquet")
        yield _TEXT_WRITERS[kind](sys.stdout, top_k)
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
            with _ParquetWriter(temporary, top_k) as writer:
                yield writer
        else:
            with temporary.open("w", encoding="utf-8", newline="") as file:
                yield _TEXT_WRITERS[kind](file, top_k)


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

    def __init__(self, file: TextIO, top_k: int) -> None:
        self._rows = csv.writer(file, lineterminator="\n")
        self._quoted_rows = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._rows.writerow(_columns(top_k))

    def write(self, paths: Sequence[Path], labels: Sequence[Sequence[str]], probabilities: Probabilities) -> None:
        for path, names, values in zip(paths, labels, probabilities.tolist(), strict=True):
            cells = [csv_text(printable(path))]
            for name, value in zip(names, values, strict=True):
                cells += [csv_text(name), f"{value:.6g}"]
            # The csv module does not quote a bare carriage return, which would end the row for a reader.
            rows = self._quoted_rows if any("\r" in cell for cell in cells) else self._rows
            rows.writerow(cells)


class _JsonLinesWriter:
    """One JSON object per image, each on its own line."""

    def __init__(self, file: TextIO, top_k: int) -> None:
        self._file = file
        self._top_k = top_k

    def write(self, paths: Sequence[Path], labels: Sequence[Sequence[str]], probabilities: Probabilities) -> None:
        for path, names, values in zip(paths, labels, probabilities.tolist(), strict=True):
            top = [
                {"label": name, "probability": float(f"{value:.6g}")} for name, value in zip(names, values, strict=True)
            ]
            row: dict[str, Any] = {"path": printable(path), **top[0]}
            if self._top_k > 1:
                row["top"] = top
            self._file.write(f"{json_line(row, self._file)}\n")


class _ParquetWriter:
    """Row groups of `ROWS_IN_A_GROUP` rows, each written as soon as it is full."""

    def __init__(self, path: Path, top_k: int) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ModuleNotFoundError as error:
            raise MissingPackageError(
                "Parquet is written by the package pyarrow, which is not installed.",
                "Type: pip install 'noah-prompt-search[parquet]'. CSV and JSON Lines go without: --out predictions.csv",
            ) from error
        number, text = pyarrow.float32(), pyarrow.string()
        self._schema = pyarrow.schema(
            [(name, number if name.startswith("probability") else text) for name in _columns(top_k)]
        )
        self._make_table = pyarrow.table
        self._file = parquet.ParquetWriter(path, self._schema)
        self._columns: list[list[Any]] = [[] for _ in self._schema.names]

    def __enter__(self) -> _ParquetWriter:
        return self

    def __exit__(self, exception: type[BaseException] | None, *_: object) -> None:
        if exception is None:
            self._write_group()
        self._file.close()

    def write(self, paths: Sequence[Path], labels: Sequence[Sequence[str]], probabilities: Probabilities) -> None:
        for path, names, values in zip(paths, labels, probabilities.tolist(), strict=True):
            self._columns[0].append(printable(path))
            for rank, (name, value) in enumerate(zip(names, values, strict=True)):
                self._columns[1 + 2 * rank].append(name)
                self._columns[2 + 2 * rank].append(value)
        if len(self._columns[0]) >= ROWS_IN_A_GROUP:
            self._write_group()

    def _write_group(self) -> None:
        if self._columns[0]:
            self._file.write_table(self._make_table(self._columns, schema=self._schema))
            self._columns = [[] for _ in self._schema.names]


_TEXT_WRITERS: dict[str, Callable[[TextIO, int], PredictionWriter]] = {"csv": _CsvWriter, "jsonl": _JsonLinesWriter}


def _columns(top_k: int) -> list[str]:
    """Name the columns: path, label, probability, label_2, probability_2 and so on."""
    suffixes = ["", *(f"_{rank}" for rank in range(2, top_k + 1))]
    return ["path", *(f"{name}{suffix}" for suffix in suffixes for name in ("label", "probability"))]
