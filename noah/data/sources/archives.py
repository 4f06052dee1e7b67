"""Unpacks a zip or tar archive of images that a stranger may have made.

Whatever the archive says, nothing is written outside the given folder, no link is made (a link to a file in the archive
becomes a copy of it), and neither the disk nor the file table fills up.
"""

from __future__ import annotations

import gzip
import posixpath
import shutil
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, Any, BinaryIO, Literal, cast

from noah.errors import DataError, system_cause
from noah.hardware.memory import format_bytes

ARCHIVE_SUFFIXES = (".zip", ".tar.gz", ".tgz", ".tar")

MAXIMUM_MEMBERS = 200_000
"""More than twice as many files as the largest task of VTAB-1k has."""

RESERVED_BYTES = 2**30
"""How many bytes are left free on the disk."""

SMALL_BYTES = 2**30
MAXIMUM_RATIO = 100
"""An archive may unpack to `SMALL_BYTES`, or to this many times its own size if that is more; images hardly shrink."""

_CHUNK = 2**20
_LARGEST_READ = 2**24
"""The most bytes of a tar archive read at once: headers are read into memory whole, and the archive sets their size."""
_LONGEST_LINK = 4096


@dataclass(frozen=True, slots=True)
class _Member:
    """One entry of an archive; `link` is the path within the archive that a link points to."""

    name: str
    kind: Literal["file", "folder", "link", "special"]
    size: int
    open: Callable[[], IO[bytes]] | None = None
    link: str = ""


def unpack(
    archive: Path, folder: Path, *, maximum_members: int = MAXIMUM_MEMBERS, maximum_bytes: int | None = None
) -> None:
    """Unpack every file of an archive into an empty folder.

    Args:
        archive: The archive, whose kind is recognized by its suffix, one of `ARCHIVE_SUFFIXES`.
        folder: An existing folder; after an error it holds what had been unpacked so far.
        maximum_members: The most entries that the archive may have.
        maximum_bytes: The most bytes that they may have together; by default all but 1 GiB of the free disk space, and
            no more than images can have been compressed from.

    Raises:
        DataError: If the archive is damaged, too large, or has a member that is refused: a path or link that leads out
            of the folder, or a device. It names archive and member.
    """
    if maximum_bytes is None:
        plausible = max(SMALL_BYTES, MAXIMUM_RATIO * archive.stat().st_size) if archive.is_file() else 0
        maximum_bytes = min(max(shutil.disk_usage(folder).free - RESERVED_BYTES, 0), plausible)
    read = _zip_members if archive.name.endswith(".zip") else _tar_members
    links: list[_Member] = []
    left = maximum_bytes
    try:
        for count, member in enumerate(read(archive), 1):
            if count > maximum_members:
                raise DataError(
                    f"{archive} has more than {maximum_members:,} members, more than noah unpacks.",
                    "Unpack it yourself if you trust it.",
                )
            place = folder / _member_path(archive, member)
            if member.kind == "folder":
                place.mkdir(parents=True, exist_ok=True)
            elif member.kind == "link":
                links.append(member)
            elif member.open is None:
                raise _refused(archive, member, "is a device or another special file")
            else:
                left = _take(left, member.size, archive, maximum_bytes)
                place.parent.mkdir(parents=True, exist_ok=True)
                with member.open() as source, place.open("xb") as file:  # both libraries stop at the size they tell
                    shutil.copyfileobj(source, file, _CHUNK)
                    if file.tell() != member.size:
                        raise EOFError("it ends too early")
        for member in links:  # Only now, because a link may come before the file that it leads to.
            target = folder / _link_path(archive, member)
            if not target.is_file():
                raise _refused(archive, member, f"is a link to {member.link}, which is not a file in the archive")
            left = _take(left, target.stat().st_size, archive, maximum_bytes)
            place = folder / _member_path(archive, member)
            place.parent.mkdir(parents=True, exist_ok=True)
            with target.open("rb") as source, place.open("xb") as file:
                shutil.copyfileobj(source, file)
    except DataError:
        raise
    except FileExistsError as error:
        raise DataError(f"{archive} is refused: it holds {Path(error.filename).name} twice.", _DAMAGED) from error
    except OSError as error:
        cause = system_cause(error)
        raise DataError(f"Cannot unpack {archive}: {cause}.", _NO_ROOM if error.errno else _DAMAGED) from error
    except Exception as error:  # Decoders raise almost anything on damaged archives: EOFError, zlib.error, ...
        cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"Cannot unpack {archive}: {cause}.", _DAMAGED) from error


_DAMAGED = "Download it again; it may be damaged."
_NO_ROOM = "Make room, or unpack it yourself and name that folder with --data-root."


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file inside a tar archive that is not compressed.

    Attributes:
        name: Its name in the archive.
        start: Where its bytes begin in the archive.
        size: How many there are.
    """

    name: str
    start: int
    size: int


def list_tar(archive: Path, *, maximum_members: int = MAXIMUM_MEMBERS) -> Iterator[StoredFile]:
    """List the files of a tar archive that is not compressed, to be read from it by their places.

    Folders, links and special files are passed over, and nothing is unpacked.

    Raises:
        DataError: If the archive is missing, compressed, damaged or cut short, or has too many members.
    """
    try:
        with archive.open("rb") as file:
            length = file.seek(0, 2)
            file.seek(0)
            if file.read(2) == b"\x1f\x8b":
                raise DataError(
                    f"{archive} is compressed, so that its images cannot be read one by one.",
                    "Unpack it with gunzip; JPEG and PNG are compressed already.",
                )
            file.seek(0)
            opened: Any = tarfile.open(fileobj=cast(Any, _BoundedReads(file)), mode="r:")  # noqa: SIM115  # closed with its file
            count = 0
            while (info := opened.next()) is not None:
                opened.members.clear()  # tarfile would keep all of them
                count += 1
                if count > maximum_members:
                    raise DataError(
                        f"{archive} has more than {maximum_members:,} members, more than noah reads.",
                        "Spread them over several archives.",
                    )
                if info.isreg() and not info.issparse():
                    if info.offset_data + info.size > length:
                        raise EOFError("it ends too early")
                    yield StoredFile(info.name, info.offset_data, info.size)
    except DataError:
        raise
    except OSError as error:
        raise DataError(f"Cannot read {archive}: {system_cause(error)}.") from error
    except Exception as error:  # tarfile raises almost anything on damaged archives: ReadError, ValueError, ...
        cause = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        raise DataError(f"Cannot read {archive}: {cause}.", _DAMAGED) from error


def read_stored(archive: Path, stored: StoredFile) -> bytes:
    """The bytes of one file inside an archive; fewer if the archive has been cut since it was listed.

    Raises:
        OSError: If the archive cannot be read.
    """
    with archive.open("rb") as file:
        file.seek(stored.start)
        return file.read(stored.size)


def _zip_members(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 if the archive was not made on Unix.
            if info.is_dir():
                yield _Member(info.filename, "folder", 0)
            elif kind == stat.S_IFLNK:
                with opened.open(info) as content:
                    target = content.read(_LONGEST_LINK).decode(errors="replace")
                yield _Member(info.filename, "link", 0, link=_from_root(info.filename, target))
            elif kind in (0, stat.S_IFREG):
                yield _Member(info.filename, "file", info.file_size, partial(opened.open, info))
            else:
                yield _Member(info.filename, "special", 0)


def _tar_members(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as file, _decompressed(file) as content:
        # Plain gzip alone: the header of an xz stream could ask for gigabytes of memory.
        opened = tarfile.open(fileobj=cast(Any, _BoundedReads(content)), mode="r:")  # noqa: SIM115  # closed with its file
        for info in opened:
            if info.isdir():
                yield _Member(info.name, "folder", 0)
            elif info.issym():
                yield _Member(info.name, "link", 0, link=_from_root(info.name, info.linkname))
            elif info.islnk():  # A hard link is named from the root of the archive.
                yield _Member(info.name, "link", 0, link=info.linkname)
            elif info.isreg():
                # extractfile gives None only for what is no file.
                yield _Member(info.name, "file", info.size, cast(Any, partial(opened.extractfile, info)))
            else:
                yield _Member(info.name, "special", 0)


def _decompressed(file: BinaryIO) -> IO[bytes]:
    """Open the content of a file that may be compressed with gzip."""
    compressed = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    return cast("IO[bytes]", gzip.GzipFile(fileobj=file)) if compressed else file


class _BoundedReads:
    """A file that refuses to return very much at once, from which tarfile reads headers."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Read the next bytes, unless they are too many."""
        if not 0 <= size <= _LARGEST_READ:
            raise ValueError(f"a header of it claims {size:,} bytes")
        return self._file.read(size)

    def seek(self, place: int, whence: int = 0) -> int:
        """Go to another position, and return it."""
        return self._file.seek(place, whence)

    def tell(self) -> int:
        """The current position."""
        return self._file.tell()


def _from_root(name: str, target: str) -> str:
    """Where a symbolic link leads, from the root of the archive; an absolute target stays one."""
    return posixpath.join(posixpath.dirname(name), target)


def _member_path(archive: Path, member: _Member) -> Path:
    """A member's name as a relative path; it may not even pass through the folder above."""
    if _is_absolute(member.name) or ".." in PurePosixPath(member.name.replace("\\", "/")).parts:
        raise _refused(archive, member, "leads out of the folder")
    return Path(member.name)


def _link_path(archive: Path, member: _Member) -> Path:
    """The target of a link as a relative path; it may go up, but not out."""
    path = posixpath.normpath(member.link)
    if _is_absolute(member.link) or "\\" in member.link or path.split("/")[0] == "..":
        raise _refused(archive, member, f"is a link to {member.link}, which leads out of the folder")
    return Path(path)


def _is_absolute(name: str) -> bool:
    return PurePosixPath(name).is_absolute() or bool(PureWindowsPath(name).anchor)


def _take(left: int, size: int, archive: Path, maximum_bytes: int) -> int:
    """The room that is left after a file of this size."""
    if size > left:
        raise DataError(
            f"{archive} unpacks to more than the {format_bytes(maximum_bytes)} that it may take on this disk.",
            "Make room, or unpack it yourself where there is room and name that folder with --data-root.",
        )
    return left - size


def _refused(archive: Path, member: _Member, reason: str) -> DataError:
    return DataError(
        f"{archive} is refused: its member {member.name} {reason}.", "Do not use this archive; get it from its authors."
    )
