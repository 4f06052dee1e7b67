"""Folders that several machines hand to each other, at a place that all of them see: a folder, or an object store.

Each is stored whole, as one tar file under one name in a `SharedFolder`, so that a reader finds either the whole new
content or the whole old one.
"""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from noah.errors import MissingPackageError, NoahError, UsageError, inside_sentence
from noah.files.shared_folder import SharedFolder

_SUFFIX = ".tar"


@dataclass(frozen=True, slots=True)
class FolderStore:
    """Where folders are stored.

    Attributes:
        place: A folder, or a URL such as `s3://bucket/sweep`; credentials are found as by the library of that store.
        prefix: What the files' names begin with, so that several can use one place without seeing each other's.

    Raises:
        UsageError: If the place is of a kind in which files do not appear whole.
    """

    place: str
    prefix: str = ""

    def __post_init__(self) -> None:
        self._files()

    def check(self) -> None:
        """Write, read and remove a few bytes, so that a wrong place is told before anything is computed.

        Raises:
            UsageError: If the place cannot be written to.
            MissingPackageError: If the package for it is not installed.
        """
        try:
            with tempfile.TemporaryDirectory() as scratch:
                source, back = Path(scratch, "source"), Path(scratch, "back")
                source.mkdir()
                (source / "probe").write_bytes(b"noah")
                self.put(source, ".probe")
                found = self.get(".probe", back) and (back / "probe").read_bytes() == b"noah"
                self.remove(".probe")
        except (UsageError, MissingPackageError):
            raise
        except NoahError as error:
            raise UsageError(
                f"--storage {self.place}: it cannot be used: {inside_sentence(error.problem)}",
                "Name a folder that all machines see, or a URL such as s3://BUCKET/FOLDER, with its credentials in the "
                "environment.",
            ) from error
        if not found:
            raise UsageError(
                f"--storage {self.place}: what is written there is not what is read.", "Choose another place."
            )

    def put(
        self,
        folder: Path,
        name: str,
        keep: Callable[[PurePosixPath], bool] = lambda _: True,
        only: Path = Path(),
    ) -> None:
        """Store the files of a folder under a name, in place of what was there.

        Args:
            folder: The folder, which nobody may write to meanwhile.
            name: A name without slashes.
            keep: Whether a file belongs to it, given its path in the folder.
            only: The path in the folder of all that is looked at.

        Raises:
            NoahError: If the place cannot be written to or reached.
        """
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "packed.tar"
            with tarfile.open(packed, "w") as archive:
                for file in sorted((folder / only).rglob("*")):
                    inside = file.relative_to(folder)
                    if file.is_file() and not file.is_symlink() and keep(PurePosixPath(inside.as_posix())):
                        archive.add(file, inside.as_posix())
            self._files().put(packed, self._file(name))

    def get(self, name: str, folder: Path) -> bool:
        """Lay the files stored under a name into a folder, over what lies there; returns whether there are any.

        Args:
            name: The name.
            folder: Is created if anything is stored.

        Raises:
            NoahError: If the place cannot be reached, or what is stored there is damaged.
        """
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "packed.tar"
            if not self._files().fetch(self._file(name), packed):
                return False
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with tarfile.open(packed) as archive:
                    archive.extractall(folder, filter="data")
            except tarfile.TarError as error:
                raise NoahError(
                    f"{self._file(name)} in {self.place} is damaged: {inside_sentence(str(error))}",
                    "Remove it; what it held is computed again.",
                ) from error
        return True

    def names(self) -> tuple[str, ...]:
        """All names under which something is stored, sorted.

        Raises:
            NoahError: If the place cannot be listed.
        """
        found = (name.removeprefix(self.prefix) for name in self._files().names() if name.startswith(self.prefix))
        return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)))

    def remove(self, name: str) -> None:
        """Forget what is stored under a name, if anything is.

        Raises:
            NoahError: If that is not possible.
        """
        self._files().remove(self._file(name))

    def _file(self, name: str) -> str:
        return f"{self.prefix}{name}{_SUFFIX}"

    def _files(self) -> SharedFolder:
        return SharedFolder(self.place)
