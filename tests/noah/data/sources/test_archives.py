from __future__ import annotations

import io
import os
import re
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest

from noah.data.sources import archives
from noah.data.sources.archives import list_tar, read_stored, unpack
from noah.errors import DataError

KINDS = ["zip", "tar", "tar.gz", "tgz"]


def member(name: str, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in values.items():
        setattr(info, key, value)
    return info


def write_tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
        for info, content in members:
            info.size = len(content) if info.isreg() else 0
            archive.addfile(info, io.BytesIO(content))
    return path


def write_archive(path: Path, contents: dict[str, bytes]) -> Path:
    if path.suffix != ".zip":
        return write_tar(path, *((member(name), content) for name, content in contents.items()))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "outer" / "target"
    folder.mkdir(parents=True)
    return folder


def written(tmp_path: Path) -> dict[str, bytes]:
    """Everything below the folder around the target, so that an escape is seen."""
    files = sorted(path for path in (tmp_path / "outer").rglob("*") if not path.is_dir())
    assert not [path for path in files if path.is_symlink()]
    return {path.relative_to(tmp_path / "outer").as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("kind", KINDS)
def test_files_and_folders_are_unpacked(tmp_path: Path, target: Path, kind: str) -> None:
    contents = {"./a/one two.txt": b"1", "b/c/d.txt": b"2" * 3_000_000, "e": b""}
    unpack(write_archive(tmp_path / f"x.{kind}", contents), target)
    assert written(tmp_path) == {f"target/{name.removeprefix('./')}": value for name, value in contents.items()}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["../x", "a/../../x", "/tmp/x", "a/../x", "C:\\x", "..\\x", "a\\..\\..\\x"])
def test_a_member_that_leads_out_is_refused(tmp_path: Path, target: Path, kind: str, name: str) -> None:
    archive = write_archive(tmp_path / f"x.{kind}", {"good": b"", name: b"evil"})
    shown = re.escape(str(archive)) + ".* its member .*x leads out of the folder"
    with pytest.raises(DataError, match=shown):
        unpack(archive, target)
    assert set(written(tmp_path)) <= {"target/good"}


@pytest.mark.parametrize(
    ("name", "link", "hard"),
    [
        ("a", "../../secret", False),
        ("a", "/etc/passwd", False),
        ("a/b", "../../secret", False),
        ("a", "../secret", True),
        ("a", "/etc/passwd", True),
        ("a", "b\\..\\..\\secret", False),
    ],
)
def test_a_link_that_leads_out_is_refused(tmp_path: Path, target: Path, name: str, link: str, hard: bool) -> None:
    info = member(name, type=tarfile.LNKTYPE if hard else tarfile.SYMTYPE, linkname=link)
    archive = write_tar(tmp_path / "x.tar", (info, b""))
    with pytest.raises(DataError, match=f"its member {name} is a link to .* leads out of the folder"):
        unpack(archive, target)
    assert written(tmp_path) == {}


def test_a_link_inside_becomes_a_copy(tmp_path: Path, target: Path) -> None:
    archive = write_tar(
        tmp_path / "x.tgz",
        (member("b/first", type=tarfile.SYMTYPE, linkname="../a"), b""),
        (member("a"), b"content"),
        (member("c", type=tarfile.LNKTYPE, linkname="a"), b""),
    )
    unpack(archive, target)
    assert written(tmp_path) == dict.fromkeys(("target/a", "target/b/first", "target/c"), b"content")
    assert (target / "c").stat().st_nlink == 1


def test_nothing_is_written_through_a_link(tmp_path: Path, target: Path) -> None:
    archive = write_tar(
        tmp_path / "x.tar", (member("a", type=tarfile.SYMTYPE, linkname=".."), b""), (member("a/evil"), b"evil")
    )
    with pytest.raises(DataError, match="its member a is a link to"):
        unpack(archive, target)
    assert "evil" not in written(tmp_path)


def test_a_link_in_a_zip(tmp_path: Path, target: Path) -> None:
    info = zipfile.ZipInfo("a")
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr(info, "../../secret")
    with pytest.raises(DataError, match=r"its member a is a link to .* leads out"):
        unpack(tmp_path / "x.zip", target)


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
def test_devices_are_refused(tmp_path: Path, target: Path, kind: bytes) -> None:
    archive = write_tar(tmp_path / "x.tar", (member("dev", type=kind), b""))
    with pytest.raises(DataError, match="its member dev is a device or another special file"):
        unpack(archive, target)


@pytest.mark.parametrize("kind", KINDS)
def test_limits(tmp_path: Path, target: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = write_archive(tmp_path / f"x.{kind}", {"a": bytes(600_000), "b": bytes(600_000)})
    with pytest.raises(DataError, match="has more than 1 members"):
        unpack(bomb, target / "..", maximum_members=1)
    (target.parent / "a").unlink()
    with pytest.raises(DataError, match="unpacks to more than the 977 KiB that it may take"):
        unpack(bomb, target, maximum_bytes=1_000_000)
    assert sum(map(len, written(tmp_path).values())) <= 1_000_000

    (target / "a").unlink()
    usage = archives.shutil.disk_usage(target)
    monkeypatch.setattr(archives.shutil, "disk_usage", lambda _: usage._replace(free=archives.RESERVED_BYTES + 9))
    with pytest.raises(DataError, match="unpacks to more than the 0 KiB"):
        unpack(bomb, target)
    assert written(tmp_path) == {}


def test_copies_of_links_count(tmp_path: Path, target: Path) -> None:
    links = [(member(f"l{number}", type=tarfile.LNKTYPE, linkname="a"), b"") for number in range(9)]
    archive = write_tar(tmp_path / "x.tgz", (member("a"), bytes(1000)), *links)
    with pytest.raises(DataError, match="unpacks to more than"):
        unpack(archive, target, maximum_bytes=5000)


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_told(tmp_path: Path, target: Path, kind: str) -> None:
    archive = write_archive(tmp_path / f"x.{kind}", {"a": os.urandom(100_000)})
    whole = archive.read_bytes()
    for content in (whole[:60_000], b"<html>a login page</html>", b""):
        archive.write_bytes(content)
        with pytest.raises(DataError, match="Cannot unpack") as caught:
            unpack(archive, target)
        assert "Download it again" in caught.value.hint and "\n" not in caught.value.problem
        (target / "a").unlink(missing_ok=True)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_one_name_twice_is_refused(tmp_path: Path, target: Path, kind: str) -> None:
    archive = tmp_path / f"x.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr("a", "1")
            opened.writestr("a", "2")
    else:
        write_tar(archive, (member("a"), b"1"), (member("a"), b"2"))
    with pytest.raises(DataError, match="it holds a twice"):
        unpack(archive, target)


class TestListing:
    """Files of an archive that are read where they are."""

    def test_files_are_found_at_their_places(self, tmp_path: Path) -> None:
        long = "a/" * 90 + "long.png"
        path = write_archive(tmp_path / "a.tar", {"a/1.png": b"one", long: b"two" * 400, "empty": b""})
        listed = list(list_tar(path))
        assert [stored.name for stored in listed] == ["a/1.png", long, "empty"]
        assert [read_stored(path, stored) for stored in listed] == [b"one", b"two" * 400, b""]

    def test_what_is_no_file_is_passed_over(self, tmp_path: Path) -> None:
        members = [
            (member("folder", type=tarfile.DIRTYPE), b""),
            (member("link", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b""),
            (member("hard", type=tarfile.LNKTYPE, linkname="folder"), b""),
            (member("device", type=tarfile.CHRTYPE), b""),
            (member("../up.png"), b"x"),
        ]
        # A name that leads out of a folder does no harm, because nothing is written under it.
        assert [stored.name for stored in list_tar(write_tar(tmp_path / "a.tar", *members))] == ["../up.png"]

    def test_too_many_members_and_huge_headers(self, tmp_path: Path) -> None:
        path = write_archive(tmp_path / "a.tar", {str(number): b"" for number in range(5)})
        with pytest.raises(DataError, match="more than 4 members"):
            list(list_tar(path, maximum_members=4))
        header = member("././@LongLink", type=tarfile.GNUTYPE_LONGNAME, size=2**30).tobuf(tarfile.GNU_FORMAT)
        path.write_bytes(header + b"x" * 512)
        with pytest.raises(DataError, match="claims"):
            list(list_tar(path))

    def test_a_missing_archive_and_a_folder(self, tmp_path: Path) -> None:
        for path in (tmp_path / "absent.tar", tmp_path):
            with pytest.raises(DataError, match="Cannot read"):
                list(list_tar(path))
