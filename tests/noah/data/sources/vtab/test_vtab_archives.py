from __future__ import annotations

import os
import re
import shutil
import threading
from pathlib import Path

import pytest

from noah.data.sources.vtab import vtab_archives
from noah.data.sources.vtab.vtab import find_vtab
from noah.data.sources.vtab.vtab_archives import find_vtab_archive, unpack_vtab
from noah.data.sources.vtab.vtab_tasks import find_vtab_task
from noah.errors import DataError

FORMATS = {".zip": "zip", ".tar": "tar", ".tar.gz": "gztar"}
CIFAR = find_vtab_task("cifar")
assert CIFAR


def write_archive(archive: Path, inner: str, files: tuple[str, ...] = ("train800.txt", "images/0.png")) -> Path:
    """An archive that holds small files below the folder `inner`."""
    source = archive.parent / "source"
    for file in files:
        (source / inner / file).parent.mkdir(parents=True, exist_ok=True)
        (source / inner / file).write_text(file)
    suffix = next(suffix for suffix in FORMATS if archive.name.endswith(suffix))
    shutil.make_archive(str(archive).removesuffix(suffix), FORMATS[suffix], source)
    shutil.rmtree(source)
    return archive


@pytest.mark.parametrize("inner", [".", "cifar", "cifar100", "vtab-1k/cifar", "vtab-1k/vtab-1k/cifar"])
@pytest.mark.parametrize("name", ["cifar.zip", "cifar.tar.gz", "cifar_100.tar"])
def test_the_folder_of_the_task_takes_the_place_of_the_archive(tmp_path: Path, name: str, inner: str) -> None:
    archive = write_archive(tmp_path / name, inner)
    assert find_vtab_archive(CIFAR, tmp_path) == archive
    folder = unpack_vtab(CIFAR, archive)
    assert folder == tmp_path / name.split(".")[0] == find_vtab("cifar", tmp_path)
    assert (folder / "images" / "0.png").read_text() == "images/0.png"
    assert {path.name for path in tmp_path.iterdir()} == {name, folder.name}


@pytest.mark.parametrize("parent", [".", "vtab-1k", "vtab-1k/vtab-1k"])
def test_archives_are_found_at_the_usual_places(tmp_path: Path, parent: str) -> None:
    assert find_vtab_archive(CIFAR, tmp_path) is None
    (tmp_path / parent).mkdir(parents=True, exist_ok=True)
    (tmp_path / parent / "cifar100.tgz").touch()
    assert find_vtab_archive(CIFAR, tmp_path) == tmp_path / parent / "cifar100.tgz"


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "cifar.zip", "dtd")
    with pytest.raises(DataError, match=re.escape(f"{archive} holds no folder cifar or cifar100 or cifar_100 with")):
        unpack_vtab(CIFAR, archive)
    assert list(tmp_path.iterdir()) == [archive]


def test_an_interruption_leaves_nothing_and_the_next_start_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = write_archive(tmp_path / "cifar.zip", "cifar")

    def interrupt(archive: Path, folder: Path) -> None:
        (folder / "train800.txt").write_text("half of it")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(vtab_archives, "unpack", interrupt)
        with pytest.raises(KeyboardInterrupt):
            unpack_vtab(CIFAR, archive)
    assert list(tmp_path.iterdir()) == [archive] and find_vtab("cifar", tmp_path) is None
    assert (unpack_vtab(CIFAR, archive) / "train800.txt").read_text() == "train800.txt"


def test_what_a_killed_process_left_is_no_data_set_and_goes_in_time(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "cifar.zip", "cifar")
    old, new = tmp_path / ".cifar.unpacking-old", tmp_path / ".cifar.unpacking-new"
    for folder in (old, new):
        (folder / "content").mkdir(parents=True)
        (folder / "content" / "train800.txt").touch()
    os.utime(old, (0, 0))
    assert find_vtab("cifar", tmp_path) is None
    unpack_vtab(CIFAR, archive)
    assert not old.exists() and new.exists()  # the new one may belong to a process that is at work


def test_two_at_once_end_with_one_whole_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_archive(tmp_path / "cifar.tar", "vtab-1k/cifar")
    together = threading.Barrier(2, timeout=20)
    unpack = vtab_archives.unpack

    def slow(archive: Path, folder: Path) -> None:
        unpack(archive, folder)
        together.wait()

    monkeypatch.setattr(vtab_archives, "unpack", slow)
    found: list[Path] = []
    threads = [threading.Thread(target=lambda: found.append(unpack_vtab(CIFAR, archive))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [tmp_path / "cifar"] * 2
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "0.png",
        "cifar.tar",
        "train800.txt",
    ]


def test_a_folder_in_the_way_is_left_alone(tmp_path: Path) -> None:
    archive = write_archive(tmp_path / "cifar.zip", "cifar")
    (tmp_path / "cifar").mkdir()
    (tmp_path / "cifar" / "mine.txt").touch()
    with pytest.raises(DataError, match=r"cifar\.zip cannot be unpacked to .*cifar: ") as caught:
        unpack_vtab(CIFAR, archive)
    assert "it holds no train800.txt" in caught.value.hint
    assert (tmp_path / "cifar" / "mine.txt").exists()


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = write_archive(tmp_path / "cifar.zip", "cifar")

    def refuse(**_: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(vtab_archives, "mkdtemp", refuse)
    with pytest.raises(DataError, match="cannot be written: permission denied") as caught:
        unpack_vtab(CIFAR, archive)
    assert "--data-root" in caught.value.hint
