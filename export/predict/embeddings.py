"""Writes embeddings into a .npy file batch by batch, in constant memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from noah.errors import UsageError
from noah.files.atomic import atomic_file

SUFFIX = ".npy"
_HEADER = 128
"""Bytes before the numbers: more than the longest header has, and a multiple of 64, which maps into memory aligned."""
_MAGIC = b"\x93NUMPY\x01\x00"


class EmbeddingsFile:
    """An open file; made by `open_embeddings`.

    Attributes:
        rows: How many embeddings were written.
    """

    def __init__(self, file: BinaryIO) -> None:
        self.rows = 0
        self._file = file
        self._width = 0
        file.write(bytes(_HEADER))

    def write(self, embeddings: npt.NDArray[np.float32]) -> None:
        """Append the embeddings of a batch, (B, d)."""
        self._width = embeddings.shape[1]
        self._file.write(np.ascontiguousarray(embeddings, "<f4").tobytes())
        self.rows += len(embeddings)

    def finish(self) -> None:
        """Write the header, which says how many rows there are, in version 1.0 of NumPy's NEP 1."""
        text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({self.rows}, {self._width}), }}".encode("ascii")
        room = _HEADER - len(_MAGIC) - 2
        self._file.seek(0)
        self._file.write(_MAGIC + room.to_bytes(2, "little") + text.ljust(room - 1) + b"\n")


@contextmanager
def open_embeddings(path: Path) -> Iterator[EmbeddingsFile]:
    """Open a file for embeddings, float32 (n, d); it gets its name when the block ends without an exception.

    Raises:
        UsageError: If the name does not end in .npy, or cannot be a file.
    """
    if path.suffix.lower() != SUFFIX:
        raise UsageError(f"Embeddings are written as {SUFFIX}, not as {path.name}.", "Name it features.npy, say.")
    path = path.resolve()  # so that a link stays a link, and its target is replaced
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a file.", "Name another file after --embeddings.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            f"Cannot make the folder {path.parent}: {error.strerror}.", "Name another file after --embeddings."
        ) from error
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        written = EmbeddingsFile(file)
        yield written
        written.finish()
