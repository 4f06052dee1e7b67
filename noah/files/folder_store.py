"""Folders that several machines hand to each other, at a place that all of them see: a folder, or an object store.

Each is stored whole, as one tar file under one name. A reader finds either the whole new content or the whole old one:
in a folder the file is renamed once it is complete, and an object store shows an object once it has arrived.
"""

from __future__ import annotations

import re
import shutil
import tarfile
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from noah.errors import MissingPackageError, NoahError, UsageError, inside_sentence
from noah.files.atomic import atomic_file

_SUFFIX = ".tar"
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
"""The package that opens each kind of URL whose objects appear whole."""


@dataclass(frozen=True, slots=True)
class FolderStore:
    """Where folders are stored.

    Attributes:
        place: A folder, or a URL such as `s3://bucket/sweep`; credentials are found as by the library of that store.
    """

    place: str

    def check(self) -> None:
        """Write, read and remove a few bytes, so that a wrong place is told before anything is computed.

        Raises:
            UsageError: If the place cannot be written to, or is of an unknown kind.
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
        except NoahError:
            raise
        except Exception as error:  # each library of a store has errors of its own
            raise UsageError(
                f"--storage {self.place}: it cannot be used: {inside_sentence(_first_line(error))}",
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
        """
        files, path = self._open(name)
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "packed.tar"
            with tarfile.open(packed, "w") as archive:
                for file in sorted((folder / only).rglob("*")):
                    inside = file.relative_to(folder)
                    if file.is_file() and not file.is_symlink() and keep(PurePosixPath(inside.as_posix())):
                        archive.add(file, inside.as_posix())
            if _is_local(files):
                Path(path).parent.mkdir(parents=True, exist_ok=True)
                with atomic_file(Path(path)) as temporary:
                    shutil.copyfile(packed, temporary)
            else:
                files.put_file(str(packed), path)

    def get(self, name: str, folder: Path) -> bool:
        """Lay the files stored under a name into a folder, over what lies there; returns whether there are any.

        Args:
            name: The name.
            folder: Is created if anything is stored.
        """
        files, path = self._open(name)
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "packed.tar"
            try:
                files.get_file(path, str(packed))
            except FileNotFoundError:
                return False
            folder.mkdir(parents=True, exist_ok=True)
            with tarfile.open(packed) as archive:
                archive.extractall(folder, filter="data")
        return True

    def names(self) -> tuple[str, ...]:
        """All names under which something is stored, sorted."""
        files, path = self._open("x")
        try:
            listed = files.ls(str(PurePosixPath(path).parent), detail=False, refresh=True)
        except FileNotFoundError:
            return ()
        found = (PurePosixPath(entry).name for entry in listed)
        return tuple(sorted(name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX)))

    def remove(self, name: str) -> None:
        """Forget what is stored under a name, if anything is."""
        files, path = self._open(name)
        with suppress(FileNotFoundError):
            files.rm_file(path)

    def _open(self, name: str) -> tuple[Any, str]:
        """The file system of the place, which is opened anew for every use, and the path of a name in it."""
        if not _URL.match(self.place):
            return _file_system("file"), str(Path(self.place).absolute() / f"{name}{_SUFFIX}")
        protocol, _, rest = self.place.partition("://")
        if protocol == "file":
            return _file_system("file"), str(Path(rest) / f"{name}{_SUFFIX}")
        if protocol not in _PACKAGES:
            raise UsageError(
                f"--storage {self.place}: not a kind of store in which a file appears whole or not at all.",
                f"Name a folder, or a URL that begins with {', '.join(f'{each}://' for each in _PACKAGES)}.",
            )
        return _file_system(protocol), f"{rest.rstrip('/')}/{name}{_SUFFIX}"


def _file_system(protocol: str) -> Any:
    try:
        import fsspec

        return fsspec.filesystem(protocol, use_listings_cache=False)
    except ImportError as error:
        package = _PACKAGES.get(protocol, "fsspec")
        raise MissingPackageError(
            f"{protocol}:// is opened by the package {package}, which is not installed.", f"Type: pip install {package}"
        ) from error


def _is_local(files: Any) -> bool:
    protocols = files.protocol if isinstance(files.protocol, tuple) else (files.protocol,)
    return "file" in protocols


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
