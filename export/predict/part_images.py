"""Opens the images of a part one by one, wherever they are."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath

from export.predict.image_batches import NamedImage
from export.predict.image_tables import open_image_cell, read_images
from export.predict.parts import Part
from noah.data.formats import is_image_path
from noah.data.sources.archives import StoredFile, list_tar, read_stored
from noah.errors import DataError, UnreadableImageError, system_cause
from noah.files.addresses import fetch, is_address, read_address


@contextmanager
def open_part(part: Part, folder: str) -> Iterator[tuple[Iterator[NamedImage], int]]:
    """Give the images of a part, and how many there are; an archive at an address is on this machine for the block.

    Args:
        part: The part.
        folder: What relative names start from.

    Raises:
        DataError: If an archive or a table cannot be read.
        NoahError: If a store cannot be reached.
    """
    match part.kind:
        case "files":
            yield (_file(name, folder) for name in part.sources), len(part.sources)
        case "table":
            yield _rows(part, folder), part.rows
        case "archive":
            (name,) = part.sources
            with tempfile.TemporaryDirectory(prefix="noah-") as scratch:
                archive = fetch(name, Path(scratch)) if is_address(name) else Path(folder, name)
                try:
                    stored = {each.name: each for each in list_tar(archive) if _is_image(each)}  # the last of a name
                except DataError as error:
                    raise DataError(error.problem.replace(str(archive), name), error.hint) from error
                images = (
                    NamedImage(f"{name}/{inside}", partial(_stored, archive, each)) for inside, each in stored.items()
                )
                yield images, len(stored)


def _file(name: str, folder: str) -> NamedImage:
    if is_address(name):
        return NamedImage(name, partial(_at_address, name))
    return NamedImage(name, partial(Path, os.path.join(folder, name)))  # noqa: PTH118  # Path would change the text


def _at_address(name: str) -> BytesIO:
    try:
        return BytesIO(read_address(name))
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)  # whose text the packages for stores choose as they like
        cause = "no such file or directory" if missing else system_cause(error)
        raise UnreadableImageError(f"Cannot read {name}: {cause}.", "", f"{cause}.") from error


def _is_image(stored: StoredFile) -> bool:
    hidden = any(part.startswith(".") and part != "." for part in PurePosixPath(stored.name).parts)
    return is_image_path(stored.name) and not hidden  # macOS adds hidden ones to archives


def _stored(archive: Path, stored: StoredFile) -> BytesIO:
    try:
        return BytesIO(read_stored(archive, stored))
    except OSError as error:
        cause = f"{system_cause(error)}."
        raise UnreadableImageError(f"Cannot read {stored.name}: {cause}", "", cause) from error


def _rows(part: Part, folder: str) -> Iterator[NamedImage]:
    (name,) = part.sources
    path = name if is_address(name) else str(Path(folder, name))
    for number, content in enumerate(read_images(path, part.column, range(*part.groups)), part.first_row):
        yield NamedImage(f"{name}/{number}", partial(open_image_cell, f"{name}/{number}", content))
