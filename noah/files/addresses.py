"""Addresses such as s3://bucket/photos, which fsspec opens with the package for their kind of store."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

from noah.errors import DataError, MissingPackageError, NoahError, UsageError, system_cause

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]+://")
_PACKAGES = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "abfs": "adlfs", "az": "adlfs"}
WHOLE = tuple(_PACKAGES)
"""The kinds of store in which a file appears whole or not at all."""


def is_address(name: str) -> bool:
    """Whether a name is an address, and not a path of this machine."""
    return _ADDRESS.match(name) is not None


def open_address(address: str) -> tuple[Any, str]:
    """The file system of an address, of fsspec's kind, and the path in it.

    Credentials are found as the package for that store finds them.

    Raises:
        MissingPackageError: If the package for it is not installed.
        UsageError: If there is no such kind of address.
        NoahError: If it cannot be opened.
    """
    protocol = address.partition("://")[0]
    package = _PACKAGES.get(protocol, "fsspec")
    try:
        import fsspec

        files, path = fsspec.url_to_fs(address, use_listings_cache=False)
    except ImportError as error:
        cause = f"{protocol}:// is opened by the package {package}, which is not installed."
        if package == "fsspec" and not isinstance(error, ModuleNotFoundError):
            cause = f"{protocol}:// cannot be opened: {str(error).rstrip('.')}."
        raise MissingPackageError(cause, f"Type: pip install {package}") from error
    except ValueError as error:
        raise UsageError(
            f"{address}: there is no kind of address {protocol}://.", "Write s3://BUCKET/FOLDER, say."
        ) from error
    except Exception as error:  # each package has errors of its own
        raise not_reached(address, error) from error
    return files, str(path)


def not_reached(address: str, error: Exception) -> NoahError:
    """The error to raise where a store does not answer, or not as it should."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    cause = system_cause(error) if isinstance(error, OSError) and error.strerror else lines[0]
    return NoahError(
        f"{address} cannot be reached: {cause.rstrip('.')}.",
        "Check the address, and the credentials in the environment, on each machine.",
    )


def fetch(address: str, folder: Path) -> Path:
    """Copy a file from an address into a folder of this machine, and give its path.

    Raises:
        DataError: If there is none.
        NoahError: If the store cannot be reached.
    """
    files, path = open_address(address)
    target = folder / PurePosixPath(path).name
    try:
        files.get_file(path, str(target))
    except FileNotFoundError as error:
        raise DataError(f"{address} does not exist.", "Check the address.") from error
    except Exception as error:  # each store has errors of its own
        raise not_reached(address, error) from error
    return target


def read_address(address: str) -> bytes:
    """The bytes of a file at an address.

    Raises:
        OSError: If this file cannot be read, but the store can be reached.
        NoahError: If it cannot.
    """
    files, path = open_address(address)
    try:
        return bytes(files.cat_file(path))
    except (FileNotFoundError, PermissionError, IsADirectoryError):
        raise
    except Exception as error:  # as above
        raise not_reached(address, error) from error
