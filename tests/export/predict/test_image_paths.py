from __future__ import annotations

import errno
import io
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.predict.image_paths import find_images
from noah.errors import DataError, UsageError
from noah.settings.settings import ColumnSettings


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of empty files, and the working folder above it."""
    for name in (
        "photos/b.jpg",
        "photos/a.PNG",
        "photos/notes.txt",
        "photos/.hidden.jpg",
        "photos/.thumbnails/t.jpg",
        "photos/sub/deep/c.webp",
        "photos/sub/d[1].jpg",
        "photos/no_images/readme.md",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "photos"


def names(*patterns: str) -> list[str]:
    return [path.as_posix() for path in find_images(patterns)]


ALL = ["photos/a.PNG", "photos/b.jpg", "photos/sub/d[1].jpg", "photos/sub/deep/c.webp"]


def test_a_folder_stands_for_every_image_below_it() -> None:
    assert names("photos") == names("photos/") == names("./photos") == ALL
    assert names("photos/sub") == ALL[2:]


def test_absolute_patterns_give_absolute_paths(photos: Path) -> None:
    assert list(find_images([str(photos)])) == [photos.parent / name for name in ALL]
    assert list(find_images([f"{photos}/*.jpg"])) == [photos / "b.jpg"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.jpg", ["photos/b.jpg"]),
        ("photos/**/*.jpg", ["photos/b.jpg", "photos/sub/d[1].jpg"]),
        ("photos/**", ALL),
        ("photos/?.*", ["photos/a.PNG", "photos/b.jpg"]),
        ("photos/s*", ALL[2:]),
        ("*/*.txt", None),
    ],
)
def test_globs(pattern: str, expected: list[str] | None) -> None:
    if expected is None:
        with pytest.raises(UsageError, match="matches no images"):
            find_images([pattern])
    else:
        assert names(pattern) == expected


def test_a_file_is_taken_whatever_its_name() -> None:
    assert names("photos/notes.txt") == ["photos/notes.txt"]
    assert names("photos/sub/d[1].jpg") == ["photos/sub/d[1].jpg"]
    assert names("photos/.hidden.jpg") == ["photos/.hidden.jpg"]


def test_patterns_keep_their_order_and_each_file_comes_once(photos: Path) -> None:
    assert names("photos/sub", "photos/b.jpg", "photos", str(photos), "photos/../photos/a.PNG") == [
        "photos/sub/d[1].jpg",
        "photos/sub/deep/c.webp",
        "photos/b.jpg",
        "photos/a.PNG",
    ]


@pytest.mark.parametrize(
    ("pattern", "problem"),
    [
        ("missing.jpg", r"No such file or folder: missing\.jpg\.\n"),
        ("photos/*.tiff", r"The pattern photos/\*\.tiff matches no images\.\n"),
        ("photos/no_images", r"The folder photos/no_images holds no images\.\n"),
        ("", "One of the names is empty"),
    ],
)
def test_a_pattern_without_images_is_named_before_the_first_path(pattern: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        find_images(["photos", pattern])


def test_they_are_counted_before_the_first_path() -> None:
    found = find_images(["photos", "photos/b.jpg"])
    assert len(found) == len(ALL) == len(list(found)) == len(list(found))  # it can be gone through again


def test_nothing_asked_for_gives_nothing() -> None:
    assert names() == []


def test_linked_folders_are_followed_and_loops_end(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "e.png").touch()
    (photos / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (photos / "sub" / "loop").symlink_to(photos, target_is_directory=True)
    assert names("photos") == ["photos/a.PNG", "photos/b.jpg", "photos/link/e.png", *ALL[2:]]


def test_a_folder_that_cannot_be_listed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real_scandir = os.scandir

    def scandir(path: str) -> Iterator[os.DirEntry[str]]:
        if str(path).endswith("deep"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real_scandir(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DataError, match=r"Cannot list the folder photos/sub/deep: Permission denied"):
        find_images(["photos"])


@given(patterns=st.lists(st.sampled_from([*ALL, "photos", "photos/sub", "photos/**/*.jpg", "./photos/*"]), min_size=1))
def test_any_mix_gives_each_image_once_and_the_same_way_again(patterns: list[str]) -> None:
    found = names(*patterns)
    assert len({Path(name).resolve() for name in found}) == len(found)
    assert set(found) <= set(ALL)
    assert found == names(*patterns)


class TestLists:
    """Tables, and a list on standard input."""

    @pytest.mark.parametrize("start", ["", "photos"])
    def test_a_table_stands_for_its_paths_in_its_order(
        self, photos: Path, start: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (photos / "list.csv").write_text("label,file_name\n?,b.jpg\n?,sub/d[1].jpg\n?,absent.png\n")
        monkeypatch.chdir(photos.parent / start)
        folder = Path("" if start else "photos")
        expected = [(folder / name).as_posix() for name in ("b.jpg", "sub/d[1].jpg", "absent.png")]
        assert names(str(folder / "list.csv")) == expected

    def test_the_column_may_be_named(self, photos: Path) -> None:
        (photos / "list.jsonl").write_text('{"picture": "b.jpg"}\n{"picture": "a.PNG"}\n')
        found = find_images(["photos/list.jsonl"], ColumnSettings(path="picture"))
        assert [path.name for path in found] == ["b.jpg", "a.PNG"]
        with pytest.raises(DataError, match="has no column for the path") as caught:
            find_images(["photos/list.jsonl"])
        assert "--columns path=NAME" in caught.value.hint

    def test_every_wrong_line_is_told(self, photos: Path) -> None:
        (photos / "list.csv").write_text("path,label\nb.jpg,x\n,x\nx\n")
        with pytest.raises(DataError, match="2 mistakes"):
            find_images(["photos/list.csv"])

    def test_an_empty_table(self, photos: Path) -> None:
        (photos / "list.csv").write_text("path\n")
        with pytest.raises(UsageError, match="lists no image"):
            find_images(["photos/list.csv"])

    def test_standard_input(self) -> None:
        lines = b"photos/b.jpg\r\n\n-dash.jpg\nphotos/sub/d[1].jpg\ncaf\xe9.jpg"
        found = [os.fspath(path) for path in find_images(["photos/a.PNG", "-"], standard_input=io.BytesIO(lines))]
        assert found == [
            "photos/a.PNG",
            "photos/b.jpg",
            "-dash.jpg",
            "photos/sub/d[1].jpg",
            os.fsdecode(b"caf\xe9.jpg"),
        ]

    def test_an_empty_standard_input(self) -> None:
        with pytest.raises(UsageError, match="Standard input lists no image"):
            find_images(["-"], standard_input=io.BytesIO(b"\n"))

    def test_names_that_begin_with_a_dash(self, photos: Path) -> None:
        (photos.parent / "-1.jpg").touch()
        assert names("-1.jpg") == ["-1.jpg"]
