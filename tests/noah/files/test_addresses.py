"""Addresses are told from paths, and what is wrong with one is told in a line."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from noah.errors import DataError, MissingPackageError, UsageError
from noah.files.addresses import fetch, is_address, open_address, read_address


@pytest.mark.parametrize("name", ["s3://bucket/a.png", "gs://b", "memory://x/y", "file:///tmp/x", "S3://Bucket"])
def test_addresses(name: str) -> None:
    assert is_address(name)


@pytest.mark.parametrize("name", ["photos", "/photos//a.png", "C:\\photos", "c:/photos", "a:b", "./s3://x", "://x", ""])
def test_paths(name: str) -> None:
    assert not is_address(name)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="no kind of address carrier://"):
        open_address("carrier://pigeon/1")


@pytest.mark.parametrize(("address", "package"), [("gs://bucket/a", "gcsfs"), ("abfs://container/a", "adlfs")])
def test_a_missing_package_is_named(address: str, package: str) -> None:
    with pytest.raises(MissingPackageError, match=f"the package {package}, which is not installed") as told:
        open_address(address)
    assert told.value.hint == f"Type: pip install {package}"


def test_files_at_an_address(tmp_path: Path) -> None:
    with fsspec.open("memory://addresses/a.txt", "wb") as file:
        file.write(b"content")
    assert read_address("memory://addresses/a.txt") == b"content"
    assert fetch("memory://addresses/a.txt", tmp_path).read_bytes() == b"content"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


def test_a_missing_file_is_no_store_out_of_reach(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_address("memory://addresses/none.txt")
    with pytest.raises(DataError, match=r"memory://addresses/none.txt does not exist"):
        fetch("memory://addresses/none.txt", tmp_path)
