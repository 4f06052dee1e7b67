"""What names stand for on a cluster: the same as elsewhere, and archives, tables of images, and addresses."""

from __future__ import annotations

import io
from pathlib import Path

import fsspec
import pytest

from export.predict.find_inputs import find_inputs
from export.predict.image_paths import find_images
from noah.errors import DataError, UsageError
from noah.settings.settings import ColumnSettings
from tests.export.predict.many_images import png, write_archive, write_folder, write_table


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder `photos` of images in the working folder, with what is none among them."""
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos" / "deep", range(3))
    write_folder(tmp_path / "photos", range(3, 5))
    (tmp_path / "photos" / "notes.txt").write_text("no image")
    (tmp_path / "photos" / ".hidden.png").write_bytes(png(0))
    (tmp_path / "list.csv").write_text("path,label\nphotos/00004.png,a\n./photos/deep/00001.png,b\nnowhere.png,c\n")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    "patterns",
    [
        ["photos"],
        ["./photos/"],
        ["photos/00003.png", "photos"],
        ["photos/*.png"],
        ["photos/**/*.png"],
        ["photos/d*"],
        ["list.csv", "photos/deep"],
        ["photos/notes.txt"],
        ["-"],
    ],
)
def test_files_are_those_of_a_single_process_in_its_order(photos: Path, patterns: list[str]) -> None:
    def listed() -> io.BytesIO:
        return io.BytesIO(b"photos/00003.png\nphotos/deep/00000.png\n")

    inputs = find_inputs(patterns, standard_input=listed())
    assert list(inputs.files) == [str(path) for path in find_images(patterns, standard_input=listed())]
    assert (inputs.archives, inputs.tables) == ((), ())


@pytest.mark.parametrize("pattern", ["", "nowhere", "photos/*.gif", "nowhere/{0..3}.tar", "empty"])
def test_what_stands_for_nothing_is_refused(photos: Path, pattern: str) -> None:
    (photos.parent / "empty").mkdir()
    with pytest.raises(UsageError):
        find_inputs([pattern])


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("shards", (0, 1, 2)),
        ("shards/{000..001}.tar", (0, 1)),
        ("shards/00[12].tar", (1, 2)),
        ("shards/002.tar", (2,)),
    ],
)
def test_archives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, found: tuple[int, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    for number in range(3):
        write_archive(tmp_path / "shards" / f"{number:03}.tar", range(1))
    inputs = find_inputs([pattern, str(tmp_path / pattern)])  # the same ones again
    assert list(inputs.archives) == [f"shards/{number:03}.tar" for number in found]
    assert inputs.files == ()


def test_a_folder_of_images_and_archives_stands_for_both_and_says_so(photos: Path) -> None:
    write_archive(photos / "more.tar", range(2))
    write_table(photos / "about.parquet", ["a", "b"], column="path")
    inputs = find_inputs(["photos"])
    assert (len(inputs.files), inputs.archives) == (5, ("photos/more.tar",))
    assert inputs.notes == ("photos stands for 5 files and 1 archive.",)


@pytest.mark.parametrize("cells", [[png(n) for n in range(10)], [{"bytes": png(n), "path": "x"} for n in range(10)]])
def test_a_table_of_images_is_cut_at_its_row_groups(tmp_path: Path, cells: list[object]) -> None:
    write_table(tmp_path / "data" / "a.parquet", cells)
    inputs = find_inputs([str(tmp_path / "data")])
    (table,) = inputs.tables
    assert (table.column, table.rows) == ("image", (4, 4, 2))
    assert [(part.groups, part.first_row, part.rows) for part in inputs.divide(5)] == [((0, 2), 0, 8), ((2, 3), 8, 2)]
    assert [part.rows for part in inputs.divide(1)] == [4, 4, 2]
    assert inputs.notes == (f"{tmp_path / 'data'} stands for 1 table: it has no images and archives.",)
    assert str(inputs) == "10 rows of 1 table"


def test_a_column_is_chosen_by_name(tmp_path: Path) -> None:
    write_table(tmp_path / "a.parquet", [png(0)], column="picture")
    with pytest.raises(DataError, match="no column for the path"):
        find_inputs([str(tmp_path / "a.parquet")])
    (table,) = find_inputs([str(tmp_path / "a.parquet")], ColumnSettings(path="picture")).tables
    assert table.column == "picture"


def test_a_damaged_table_is_told_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(DataError, match=r"a\.parquet cannot be read as Parquet"):
        find_inputs([str(tmp_path / "a.parquet")])


def test_everything_at_an_address() -> None:
    files = fsspec.filesystem("memory")
    root = "memory://find-inputs"
    for name in ("photos/b.png", "photos/deep/a.jpg", "photos/.hidden/c.png", "photos/notes.txt", "shards/000.tar"):
        files.pipe(f"{root}/{name}", b"")
    files.pipe(f"{root}/list.csv", f"path\nphotos/b.png\n{root}/elsewhere.png\n".encode())
    assert find_inputs([f"{root}/photos"]).files == (f"{root}/photos/b.png", f"{root}/photos/deep/a.jpg")
    assert find_inputs([f"{root}/photos/*.png"]).files == (f"{root}/photos/b.png",)
    assert find_inputs([f"{root}/list.csv"]).files == (f"{root}/photos/b.png", f"{root}/elsewhere.png")
    assert find_inputs([f"{root}/shards"]).archives == (f"{root}/shards/000.tar",)
    assert find_inputs([root]).archives == (f"{root}/shards/000.tar",)
    for nothing in (f"{root}/none", f"{root}/none/*.png", f"{root}/none.csv"):
        with pytest.raises(UsageError, match="memory://find-inputs/none"):
            find_inputs([nothing])


def test_a_table_without_rows_is_refused_and_one_named_twice_is_not(photos: Path) -> None:
    (photos.parent / "none.csv").write_text("path,label\n")
    write_table(photos.parent / "none.parquet", [])
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(UsageError, match=f"{name} lists no image"):
            find_inputs([name])
    write_table(photos.parent / "some.parquet", [png(0)])
    for name in ("list.csv", "some.parquet"):
        assert find_inputs([name, name]) == find_inputs([name]) == find_inputs([name, f"./{name}"])


def test_braces_that_make_too_many_names_are_refused(photos: Path) -> None:
    with pytest.raises(UsageError, match="more than 100,000 names"):
        find_inputs(["photos/{0..9999999999}.png"])
