"""Parquet tables that hold images themselves: a column of bytes, or of bytes and paths as `datasets` writes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from noah.data.sources.tables.columns import USUAL_NAMES
from noah.errors import DataError, MissingPackageError, NoahError, UnreadableImageError
from noah.files.addresses import is_address, not_reached, open_address
from noah.settings.settings import ColumnSettings

_ROWS = 64
"""Rows that are read at once, with their images."""


@dataclass(frozen=True, slots=True)
class ImageTable:
    """A Parquet table with images in one of its columns.

    Attributes:
        name: The path or address of the file.
        column: The column.
        rows: How many rows each of its row groups has.
    """

    name: str
    column: str
    rows: tuple[int, ...]

    def cut(self, size: int) -> Iterator[tuple[int, int, int]]:
        """Runs of row groups with at least so many rows: the first, the one after the last, and the first row."""
        first = row = count = 0
        for number, rows in enumerate(self.rows, 1):
            count += rows
            if count >= size or (number == len(self.rows) and count):
                yield first, number, row
                first, row, count = number, row + count, 0


def find_image_table(name: str, columns: ColumnSettings) -> ImageTable | None:
    """Look whether a Parquet table has images in the column that is named, or in one with a usual name for paths.

    Returns:
        The table; None if it has no such column, so that it may be one of paths.

    Raises:
        DataError: If it cannot be read.
        MissingPackageError: If pyarrow is not installed.
    """
    with open_parquet(name) as (pyarrow, file):
        lower = {column.lower(): column for column in reversed(list(map(str, file.schema_arrow.names)))}
        usual = [lower[each] for each in USUAL_NAMES["path"] if each in lower]
        named = usual if columns.path is None else [each for each in lower.values() if each == columns.path]
        for column in named:
            if _holds_bytes(pyarrow, file.schema_arrow.field(column).type):
                groups = range(file.metadata.num_row_groups)
                return ImageTable(name, column, tuple(file.metadata.row_group(group).num_rows for group in groups))
    return None


def read_images(name: str, column: str, groups: range) -> Iterator[bytes | None]:
    """The bytes of the images in some row groups; None where there is none.

    Raises:
        DataError: If the table cannot be read.
    """
    with open_parquet(name) as (_, file):
        for batch in file.iter_batches(_ROWS, row_groups=list(groups), columns=[column], use_threads=False):
            for cell in batch.column(0).to_pylist():
                content = cell.get("bytes") if isinstance(cell, dict) else cell
                yield content if isinstance(content, bytes) else None


def open_image_cell(name: str, content: bytes | None) -> BytesIO:
    """The bytes of an image in a table as a file.

    Raises:
        UnreadableImageError: If there are none.
    """
    if not content:
        cause = "the table has no image here."
        raise UnreadableImageError(f"Cannot read {name}: {cause}", "", cause)
    return BytesIO(content)


def _holds_bytes(pyarrow: Any, kind: Any) -> bool:
    if pyarrow.types.is_struct(kind):
        kind = next((field.type for field in map(kind.field, range(kind.num_fields)) if field.name == "bytes"), kind)
    return bool(pyarrow.types.is_binary(kind) or pyarrow.types.is_large_binary(kind))


@contextmanager
def open_parquet(name: str) -> Iterator[tuple[Any, Any]]:
    """Open a Parquet file of a path or an address; gives the module pyarrow and its `ParquetFile`.

    Raises:
        DataError: If it cannot be read, also when that shows in the `with` block.
        MissingPackageError: If pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise MissingPackageError(
            "Parquet is read by the package pyarrow, which is not installed.",
            "Type: pip install 'noah-prompt-search[parquet]'.",
        ) from error
    try:
        with _opened(name) as file:
            limits = {"thrift_string_size_limit": 2**24, "thrift_container_size_limit": 2**20}
            yield pyarrow, parquet.ParquetFile(file, **limits)
    except NoahError:
        raise
    except Exception as error:  # pyarrow raises almost anything on damaged files: ArrowInvalid, OSError, KeyError, ...
        cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"{name} cannot be read as Parquet: {cause}.", "Write it again; it may be damaged.") from error


def _opened(name: str) -> Any:
    if not is_address(name):
        return Path(name).open("rb")
    files, path = open_address(name)
    try:
        return files.open(path, "rb")
    except FileNotFoundError as error:
        raise DataError(f"{name} does not exist.", "Check the address.") from error
    except Exception as error:  # each store has errors of its own
        raise not_reached(name, error) from error
