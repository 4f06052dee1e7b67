"""A folder that all machines of a cluster see: on a shared disk, or in an object store.

A file in it is there whole, or not at all. In a folder it is renamed once it is complete, and an object store shows an
object once it has arrived.
"""

from __future__ import annotations

import errno
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noah.errors import NoahError, UsageError, system_cause
from noah.files.addresses import WHOLE, is_address, not_reached, open_address
from noah.files.atomic import atomic_file

_FILE = "file"
_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(frozen=True, slots=True)
class SharedFolder:
    """A flat folder of files.

    Attributes:
        place: A path, with file:// before it or not, or an address such as s3://bucket/labels.

    Raises:
        UsageError: If files do not appear whole at such an address.
    """

    place: str

    def __post_init__(self) -> None:
        protocol = self.place.partition("://")[0]
        if is_address(self.place) and protocol not in (*WHOLE, _FILE):
            raise UsageError(
                f"{self.place}: not a kind of store in which a file appears whole or not at all.",
                f"Name a folder, or an address that begins with {', '.join(f'{each}://' for each in WHOLE)}.",
            )

    def __str__(self) -> str:
        return self.place

    @property
    def path(self) -> Path | None:
        """The path of a folder; None for an address."""
        if not is_address(self.place):
            return Path(self.place)
        protocol, _, rest = self.place.partition("://")
        return Path(rest) if protocol == _FILE else None

    def names(self) -> tuple[str, ...]:
        """The names of all files in it, sorted; none if it does not exist.

        Raises:
            NoahError: If it cannot be listed.
        """
        if self.path is not None:
            try:
                return tuple(sorted(entry.name for entry in self.path.iterdir())) if self.path.exists() else ()
            except OSError as error:
                raise UsageError(f"Cannot list {self.place}: {system_cause(error)}.", "Name another folder.") from error
        files, root = open_address(self.place)
        try:
            found = files.ls(root, detail=False)
        except FileNotFoundError:
            return ()
        except Exception as error:  # each store has errors of its own
            raise not_reached(self.place, error) from error
        names = (path.removeprefix(root.rstrip("/")).strip("/") for path in found)
        return tuple(sorted(name for name in names if name))

    def put(self, file: Path, name: str) -> None:
        """Store a copy of a file under a name, in place of what was there.

        Raises:
            NoahError: If it cannot be written.
        """
        try:
            if self.path is not None:
                self.path.mkdir(parents=True, exist_ok=True)
                with atomic_file(self.path / name) as temporary:
                    shutil.copyfile(file, temporary)
            else:
                files, root = open_address(self.place)
                files.put_file(str(file), f"{root.rstrip('/')}/{name}")
        except NoahError:
            raise
        except Exception as error:  # as above
            raise self._unwritable(error) from error

    def open(self, name: str) -> Any:
        """Open a file for reading, in binary.

        Raises:
            FileNotFoundError: If there is none of that name.
            NoahError: If the store cannot be reached.
        """
        if self.path is not None:
            return (self.path / name).open("rb")
        files, root = open_address(self.place)
        try:
            return files.open(f"{root.rstrip('/')}/{name}", "rb")
        except FileNotFoundError:
            raise
        except Exception as error:  # as above
            raise not_reached(self.place, error) from error

    def fetch(self, name: str, target: Path) -> bool:
        """Copy a file to a path of this machine; returns whether there is one.

        Raises:
            NoahError: If the store cannot be reached, or the copy not be written.
        """
        try:
            if self.path is not None:
                shutil.copyfile(self.path / name, target)
            else:
                files, root = open_address(self.place)
                files.get_file(f"{root.rstrip('/')}/{name}", str(target))
        except (FileNotFoundError, NotADirectoryError):
            return False
        except NoahError:
            raise
        except Exception as error:  # as above
            raise not_reached(self.place, error) from error
        return True

    def remove(self, name: str) -> None:
        """Remove a file, if there is one of that name.

        Raises:
            NoahError: If that is not possible.
        """
        try:
            if self.path is not None:
                (self.path / name).unlink()
            else:
                files, root = open_address(self.place)
                files.rm_file(f"{root.rstrip('/')}/{name}")
        except FileNotFoundError:
            return
        except NoahError:
            raise
        except Exception as error:  # as above
            raise self._unwritable(error) from error

    def remove_unfinished(self) -> None:
        """Remove what was left of files by processes that were killed while they wrote."""
        if self.path is not None:
            for left in self.path.glob(".*.tmp"):
                with suppress(OSError):
                    left.unlink()

    def _unwritable(self, error: Exception) -> NoahError:
        if self.path is None or not isinstance(error, OSError):
            return not_reached(self.place, error)
        hint = "Make room there." if error.errno in _FULL else "Check who may write there, or name another place."
        return NoahError(f"Cannot write into {self.place}: {system_cause(error)}.", hint)
