"""Reads the cells of a table in any of four formats, row by row, and says where each row is.

Whatever bytes a file holds, what is wrong with it comes as a `DataError`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from noah.data.sources.mistakes import Mistakes, quoted, unlike_a_label
from noah.data.sources.names import plain_value
from noah.errors import DataError, DatasetNotFoundError, MissingPackageError, system_cause
from noah.files.bounded import parse_json, read_bounded
from noah.files.foreign_text import from_csv_text

LARGEST_TABLE = 2**27
"""In bytes, of a text file or of the columns that are read of a Parquet file."""
MOST_ROWS = 2_000_000
"""More than ImageNet's training images; the rows of a larger table would take gigabytes of memory."""
_MOST_COLUMNS = 10_000
_BATCH = 500
"""Rows of a Parquet file that are read at once; a long text that many share takes its length in each."""

Cell = str | None
"""None for what is missing or empty."""


@dataclass(frozen=True, slots=True)
class Cells:
    """An open table.

    Attributes:
        file: Where it is.
        columns: The names of its columns; those without a name are passed over.
        rows: Gives, for names of columns, each row's place ("line 12") with its cells in the order of the names. Rows
            that cannot be read are added to the mistakes, and rows that are empty are left out.
        notes: One sentence for each automatic choice.
    """

    file: Path
    columns: tuple[str, ...]
    rows: Callable[[Sequence[str], Mistakes], Iterator[tuple[str, tuple[Cell, ...]]]]
    notes: tuple[str, ...] = ()


def is_table_path(path: Path) -> bool:
    """Whether a path has the suffix of a table, and is no folder; whether it exists is told when it is opened."""
    return path.suffix.lower() in TABLE_SUFFIXES and not path.is_dir()


def open_cells(path: Path) -> Cells:
    """Open a table by its suffix, one of `TABLE_SUFFIXES`.

    Raises:
        DatasetNotFoundError: If there is no such file.
        DataError: If it cannot be read, or its columns have no usable names.
        MissingPackageError: If it is a Parquet file, and pyarrow is not installed.
    """
    if not path.exists():
        raise DatasetNotFoundError(f"{quoted(str(path))} does not exist.", "Check the path.")
    cells = _FORMATS[path.suffix.lower()](path)
    named = tuple(name for name in cells.columns if name.strip())
    repeated = next((name for index, name in enumerate(named) if name in named[:index]), None)
    if repeated is not None:
        raise DataError(f"{path} has two columns {quoted(repeated)}.", "Rename one of them.")
    return replace(cells, columns=named)


def _read_text(path: Path) -> str:
    try:
        return read_bounded(path, LARGEST_TABLE).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not a UTF-8 text file.", "In a spreadsheet, save it as 'CSV UTF-8'; or convert it with iconv."
        ) from None
    except ValueError as error:
        raise DataError(f"{path} cannot be read: {error}.") from None
    except OSError as error:
        raise DataError(f"Cannot read {path}: {system_cause(error)}.") from error


def _open_delimited(delimiter: str, path: Path) -> Cells:
    text = _read_text(path)
    header = next((line for line in text.splitlines() if line.strip()), "")
    notes: tuple[str, ...] = ()
    if delimiter == "," and "," not in header and (other := next((sign for sign in ";\t" if sign in header), None)):
        delimiter = other
        word = "semicolons" if other == ";" else "tabs"
        notes = (f"The columns of {path} are separated by {word}, because its first line has no comma.",)
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = next((row for row in lines if any(cell.strip() for cell in row)), None)
    except csv.Error as error:
        raise DataError(f"{path}, line {lines.line_num}: {error}.", _HEADER) from None
    if names is None:
        raise DataError(f"{path} is empty.", _HEADER)
    if len(names) > _MOST_COLUMNS:
        raise DataError(f"{path} has {len(names):,} columns, more than noah reads.", _HEADER)
    columns = tuple(name.strip() for name in names)
    while columns and not columns[-1]:  # spreadsheets write empty columns at the end
        columns = columns[:-1]
    return Cells(path, columns, partial(_delimited_rows, path, lines, columns), notes)


_HEADER = "The first line has to name the columns, such as path,label."


def _delimited_rows(
    path: Path, lines: Any, columns: tuple[str, ...], wanted: Sequence[str], mistakes: Mistakes
) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    places = [columns.index(name) for name in wanted]
    count, number = 0, lines.line_num + 1
    while True:
        try:
            row = next(lines)
        except StopIteration:
            return
        except csv.Error as error:  # the rest cannot be trusted: a quotation mark that is never closed takes it all
            mistakes.add(f"line {number}", f"{error}; nothing after it is read", _QUOTES)
            return
        cells = [from_csv_text(cell.strip()) for cell in row]
        if any(cells):
            count += 1
            _check_count(path, count)
            extra = cells[len(columns) :]
            if len(cells) < len(columns) or any(extra):
                fields = "1 field" if len(cells) == 1 else f"{len(cells)} fields"
                mistakes.add(f"line {number}", f"{fields}, where the first line names {len(columns)} columns", _QUOTES)
            else:
                yield f"line {number}", tuple(cells[place] or None for place in places)
        number = lines.line_num + 1


_QUOTES = (
    'A text that holds the separator or a line end stands in "quotation marks", one that holds these has them twice.'
)


def _open_json_lines(path: Path) -> Cells:
    text = _read_text(path)
    first = next((line for line in text.split("\n") if line.strip()), None)
    if first is None:
        raise DataError(f"{path} is empty.", _RECORDS)
    record = _record(first)
    if isinstance(record, str):
        raise DataError(f"{path}: its first line is no record: {record}.", _RECORDS)
    return Cells(path, _names(path, text), partial(_json_rows, path, text))


_RECORDS = 'Each line has to be a record such as {"path": "images/1.jpg", "label": "cat"}.'


def _record(line: str) -> Mapping[str, object] | str:
    """One line of JSON Lines, or what is wrong with it."""
    try:
        record = parse_json(line)
    except ValueError as error:
        return " ".join(str(error).split()).rstrip(".")
    return record if isinstance(record, dict) else "it has no names"


def _names(path: Path, text: str) -> tuple[str, ...]:
    """The names in all records; each record may leave some out."""
    names: dict[str, None] = {}
    for line in text.split("\n"):
        record = _record(line) if line.strip() else ""
        if not isinstance(record, str):
            names.update(dict.fromkeys(record))
        if len(names) > _MOST_COLUMNS:
            raise DataError(f"{path} has more than {_MOST_COLUMNS:,} columns, more than noah reads.", _RECORDS)
    return tuple(names)


def _json_rows(
    path: Path, text: str, wanted: Sequence[str], mistakes: Mistakes
) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    count = 0
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        count += 1
        _check_count(path, count)
        record = _record(line)
        if isinstance(record, str):
            mistakes.add(f"line {number}", f"no record: {record}", _RECORDS)
            continue
        yield from _checked(f"line {number}", [record.get(name) for name in wanted], wanted, mistakes)


def _open_parquet(path: Path) -> Cells:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "Parquet is read by the package pyarrow, which is not installed.",
            "Type: pip install 'noah-prompt-search[parquet]'. CSV and JSON Lines go without.",
        ) from error
    try:
        if not path.is_file():
            raise DataError(f"{path} is not a file.")
        file = parquet.ParquetFile(path, thrift_string_size_limit=2**24, thrift_container_size_limit=2**20)
        columns = tuple(map(str, file.schema_arrow.names))
        _check_count(path, file.metadata.num_rows)
    except DataError:
        raise
    except Exception as error:  # pyarrow raises almost anything on damaged files: ArrowInvalid, OSError, KeyError, ...
        raise _damaged(path, error) from error
    return Cells(path, columns, partial(_parquet_rows, path, pyarrow, file))


def _parquet_rows(
    path: Path, pyarrow: Any, file: Any, wanted: Sequence[str], mistakes: Mistakes
) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    for name in wanted:
        kind = file.schema_arrow.field(name).type
        kind = kind.value_type if pyarrow.types.is_dictionary(kind) else kind
        plain = ("is_string", "is_large_string", "is_string_view", "is_integer", "is_floating", "is_boolean", "is_null")
        if not any(getattr(pyarrow.types, test)(kind) for test in plain):
            raise DataError(
                f"{path}: the column {quoted(name)} holds {quoted(str(kind))}, and not text or numbers.",
                "Name other columns with --columns path=NAME,label=NAME.",
            )
    count = size = 0
    try:
        for batch in file.iter_batches(batch_size=_BATCH, columns=list(wanted), use_threads=False):
            size += batch.nbytes
            if size > LARGEST_TABLE:
                raise DataError(
                    f"{path}: the columns {' and '.join(map(quoted, wanted))} have more than {LARGEST_TABLE:,} bytes, "
                    "the most that noah reads.",
                    "Take a part of it.",
                )
            by_name = batch.to_pydict()
            for row in zip(*(by_name[name] for name in wanted), strict=True):
                count += 1
                _check_count(path, count)
                yield from _checked(f"row {count}", row, wanted, mistakes)
    except DataError:
        raise
    except Exception as error:  # as above
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> DataError:
    cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    return DataError(f"{path} cannot be read as Parquet: {quoted(cause)}.", "Write it again; it may be damaged.")


def _checked(
    place: str, values: Sequence[object], wanted: Sequence[str], mistakes: Mistakes
) -> Iterator[tuple[str, tuple[Cell, ...]]]:
    """Give a row if each of its values is text, a whole number, or missing."""
    cells: list[Cell] = []
    for name, value in zip(wanted, values, strict=True):
        value = plain_value(value)
        if not isinstance(value, str | int | None):
            mistakes.add(place, *unlike_a_label(name, value))
            return
        cells.append(None if value is None else str(value))
    if any(cell is not None for cell in cells):
        yield place, tuple(cells)
    else:
        mistakes.add(place, f"no {' and no '.join(map(quoted, wanted[:2]))}")


def _check_count(path: Path, count: int) -> None:
    if count > MOST_ROWS:
        raise DataError(f"{path} has more than {MOST_ROWS:,} rows, the most that noah reads.", "Take a part of it.")


_FORMATS: Mapping[str, Callable[[Path], Cells]] = {
    ".csv": partial(_open_delimited, ","),
    ".tsv": partial(_open_delimited, "\t"),
    ".jsonl": _open_json_lines,
    ".parquet": _open_parquet,
}

TABLE_SUFFIXES = frozenset(_FORMATS)
"""In lower case."""
