"""Parts of all images that are to be predicted, each of which one machine predicts into one file.

A part says where its images are, not which they are, where only reading an archive would tell. The same images give the
same parts, whose names are made from what is in them, so that whoever starts again knows what is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from export.predict.image_tables import ImageTable
from noah.files.addresses import is_address
from noah.progress import counted

SHARD_SIZE = 1000
"""How many images a part has unless another number is asked for."""


@dataclass(frozen=True, slots=True)
class Part:
    """Images that one machine predicts, into one file.

    Attributes:
        number: Its place among the parts.
        kind: What its sources are: files of images, a tar archive of images, or a Parquet table with images in it.
        sources: The names of the files, or of the archive or table.
        column: Of a table: the column of the images.
        groups: Of a table: its row groups, from the first to before the second.
        first_row: Of a table: the number of the first row.
        rows: Of a table: how many rows these groups have.
    """

    number: int
    kind: Literal["files", "archive", "table"]
    sources: tuple[str, ...]
    column: str = ""
    groups: tuple[int, int] = (0, 0)
    first_row: int = 0
    rows: int = 0

    @property
    def name(self) -> str:
        """Its name, made from all that it consists of."""
        content = "\0".join([self.kind, *self.sources, self.column, *map(str, (*self.groups, self.rows))])
        digest = hashlib.sha256(content.encode("utf-8", "surrogateescape")).hexdigest()
        return f"part-{self.number:05}-{digest[:12]}"


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that is to be predicted.

    Attributes:
        files: The names of image files, each once, as typed or as they stand in a table.
        archives: The names of tar archives, each once.
        tables: Parquet tables with images in them.
        notes: One sentence for each automatic choice.
    """

    files: tuple[str, ...]
    archives: tuple[str, ...] = ()
    tables: tuple[ImageTable, ...] = ()
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [counted(len(self.files), "files")] if self.files else []
        parts += [counted(len(self.archives), "archives")] if self.archives else []
        images = sum(sum(table.rows) for table in self.tables)
        parts += [f"{counted(images, 'rows')} of {counted(len(self.tables), 'tables')}"] if self.tables else []
        return ", ".join(parts)

    def divide(self, size: int) -> tuple[Part, ...]:
        """Make the parts: so many files each, one for each archive, and row groups of at least so many rows each."""
        cuts = range(0, len(self.files), size)
        parts = [Part(number, "files", self.files[cut : cut + size]) for number, cut in enumerate(cuts)]
        for archive in self.archives:
            parts.append(Part(len(parts), "archive", (archive,)))
        for table in self.tables:
            for first, last, row in table.cut(size):
                count = sum(table.rows[first:last])
                parts.append(Part(len(parts), "table", (table.name,), table.column, (first, last), row, count))
        return tuple(parts)

    def on_disk(self) -> tuple[str, ...]:
        """A file of each kind that is there on this machine, as absolute paths: where all machines have to see it."""
        kinds: tuple[Iterable[str], ...] = (self.files, self.archives, (table.name for table in self.tables))
        first = (next((name for name in kind if not is_address(name) and Path(name).exists()), None) for kind in kinds)
        return tuple(str(Path(name).absolute()) for name in first if name is not None)
