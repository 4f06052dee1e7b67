"""Folders in a folder and in a bucket of S3: whole or not at all, whatever is stored over them."""

from __future__ import annotations

import dataclasses
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from noah.errors import MissingPackageError, NoahError, UsageError
from noah.files.folder_store import FolderStore
from tests.bucket import bucket

__all__ = ["bucket"]


@pytest.fixture(params=["folder", "file url", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FolderStore:
    if request.param == "s3":
        return FolderStore(f"{request.getfixturevalue('bucket')}/{tmp_path.name}")
    place = tmp_path / "not" / "yet" / "there"
    return FolderStore(str(place) if request.param == "folder" else f"file://{place}")


def made(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        path = folder / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def content(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def test_there_and_back(store: FolderStore, tmp_path: Path) -> None:
    assert (store.names(), store.get("cell", tmp_path / "back")) == ((), False)
    assert not (tmp_path / "back").exists()
    first = made(tmp_path / "first", run="1", search__study="2", lock="held")
    store.put(first, "cell", keep=lambda path: path.name != "lock")
    store.put(first, "other")
    assert store.names() == ("cell", "other")
    assert store.get("cell", tmp_path / "back")
    assert content(tmp_path / "back") == {"run": "1", "search/study": "2"}
    assert content(first)["lock"] == "held"

    store.put(made(tmp_path / "second", run="3"), "cell")
    assert store.get("cell", tmp_path / "new") and content(tmp_path / "new") == {"run": "3"}
    store.remove("cell")
    store.remove("cell")
    assert store.names() == ("other",)
    store.check()
    assert store.names() == ("other",)


def test_a_reader_never_sees_a_half(store: FolderStore, tmp_path: Path) -> None:
    """One writes folders of two equal files, over and over, while another reads them."""
    sources = [made(tmp_path / f"s{n}", one=str(n) * 50_000, two=str(n) * 50_000) for n in range(4)]
    store.put(sources[0], "cell")
    done = threading.Event()

    def write() -> None:
        for turn in range(12):
            store.put(sources[turn % 4], "cell")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    turn = 0
    while not done.is_set() or not turn:
        turn += 1
        assert store.get("cell", tmp_path / f"back{turn}")
        found = content(tmp_path / f"back{turn}")
        assert found.keys() == {"one", "two"} and found["one"] == found["two"]
    writer.join()


def test_a_write_that_is_cut_short_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderStore(str(tmp_path / "store"))
    store.put(made(tmp_path / "first", run="1"), "cell")

    def full(source: Any, target: Path) -> None:
        Path(target).write_bytes(Path(source).read_bytes()[:100])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("noah.files.shared_folder.shutil.copyfile", full)
    with pytest.raises(NoahError, match="no space left on device"):
        store.put(made(tmp_path / "second", run="2"), "cell")
    monkeypatch.undo()
    assert store.get("cell", tmp_path / "back") and content(tmp_path / "back") == {"run": "1"}
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["cell.tar"]


def test_a_name_that_leaves_the_folder_is_refused(tmp_path: Path) -> None:
    made(tmp_path / "store")
    (tmp_path / "store").mkdir()
    with tarfile.open(tmp_path / "store" / "cell.tar", "w") as archive:
        archive.add(__file__, "../escaped")
    with pytest.raises(NoahError, match=r"cell\.tar in .* is damaged"):
        FolderStore(str(tmp_path / "store")).get("cell", tmp_path / "back")
    assert not (tmp_path / "escaped").exists()


@pytest.mark.parametrize("place", ["ftp://host/runs", "memory://runs", "http://host/runs"])
def test_stores_in_which_a_file_grows(place: str) -> None:
    with pytest.raises(UsageError, match="appears whole or not at all"):
        FolderStore(place).check()


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="it cannot be used"):
        FolderStore(str(tmp_path / "file" / "store")).check()


def test_a_bucket_that_is_not_there(bucket: str) -> None:
    with pytest.raises(UsageError, match=r"--storage s3://nobody/runs: it cannot be used"):
        FolderStore("s3://nobody/runs").check()


def test_a_store_whose_package_is_missing() -> None:
    pytest.importorskip("fsspec")
    with pytest.raises(MissingPackageError, match="adlfs"):
        FolderStore("az://container/runs").check()


def test_two_that_share_a_place_do_not_see_each_other(store: FolderStore, tmp_path: Path) -> None:
    one, other = (dataclasses.replace(store, prefix=prefix) for prefix in ("1-", "2-"))
    one.put(made(tmp_path / "one", run="1"), "cell")
    other.put(made(tmp_path / "other", run="2"), "cell")
    assert (one.names(), other.names()) == (("cell",), ("cell",))
    one.remove("cell")
    assert not one.get("cell", tmp_path / "back") and other.get("cell", tmp_path / "back")
    assert content(tmp_path / "back") == {"run": "2"}


def test_a_store_that_stops_answering_is_told(bucket: str, tmp_path: Path) -> None:
    store = FolderStore("s3://nobody/runs")
    with pytest.raises(NoahError, match="s3://nobody/runs cannot be reached"):
        store.put(made(tmp_path / "one", run="1"), "cell")
