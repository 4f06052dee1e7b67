"""Parts of every kind give each of their images once, by its name; those that are missing are failures of their own."""

from __future__ import annotations

from pathlib import Path

import fsspec
import pytest

from export.predict.find_inputs import find_inputs
from export.predict.image_batches import NamedImage
from export.predict.part_images import open_part
from noah.data.decode import decode_image
from noah.data.decoding import AS_STORED
from noah.errors import DataError, UnreadableImageError
from tests.export.predict.many_images import png, write_archive, write_folder, write_table


def names_and_images(patterns: list[str], folder: Path, size: int) -> dict[str, bytes | str]:
    """What `divide` and `open_part` give together: the pixels, or why there are none."""
    found: dict[str, bytes | str] = {}
    for part in find_inputs(patterns).divide(size):
        with open_part(part, str(folder)) as (images, count):
            listed = list(images)
            assert len(listed) == count
            for image in listed:
                assert str(image) not in found
                found[str(image)] = content(image)
    return found


def content(image: NamedImage) -> bytes | str:
    try:
        return decode_image(image.open(), AS_STORED).image.tobytes()
    except UnreadableImageError as error:
        return error.cause


def pixels(number: int, folder: Path) -> bytes:
    (folder / "one.png").write_bytes(png(number))
    return decode_image(folder / "one.png", AS_STORED).image.tobytes()


def test_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_folder(tmp_path / "photos", range(5), broken=(3,))
    (tmp_path / "list.csv").write_text("path\nphotos/00009.png\n")
    found = names_and_images(["photos", "list.csv"], tmp_path, 2)
    assert list(found) == [*(f"photos/{number:05}.png" for number in range(5)), "photos/00009.png"]
    assert found["photos/00004.png"] == pixels(4, tmp_path)
    assert found["photos/00003.png"] == "it is in no image format that noah knows, or damaged at its beginning."
    assert found["photos/00009.png"] == "no such file or directory."


def test_an_archive(tmp_path: Path) -> None:
    names = write_archive(tmp_path / "a.tar", range(5), broken=(2,))
    found = names_and_images([str(tmp_path / "a.tar")], tmp_path, 2)
    assert list(found) == names
    assert found[names[3]] == pixels(3, tmp_path)
    assert "no image format" in str(found[names[2]])


def test_an_archive_that_was_cut_short_is_an_error_of_the_whole_part(tmp_path: Path) -> None:
    write_archive(tmp_path / "a.tar", range(5))
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[:4000])
    with pytest.raises(DataError, match=r"a\.tar"):
        names_and_images([str(tmp_path / "a.tar")], tmp_path, 2)


def test_a_table(tmp_path: Path) -> None:
    cells = [{"bytes": png(number), "path": None} for number in range(9)]
    cells[6] = {"bytes": None, "path": "gone.png"}
    write_table(tmp_path / "a.parquet", cells)
    found = names_and_images([str(tmp_path / "a.parquet")], tmp_path, 5)
    assert list(found) == [f"{tmp_path}/a.parquet/{number}" for number in range(9)]
    assert found[f"{tmp_path}/a.parquet/8"] == pixels(8, tmp_path)
    assert found[f"{tmp_path}/a.parquet/6"] == "the table has no image here."


def test_everything_at_an_address(tmp_path: Path) -> None:
    files, root = fsspec.filesystem("memory"), "memory://part-images"
    files.pipe(f"{root}/photos/1.png", png(1))
    files.pipe(f"{root}/list.csv", b"path\nphotos/none.png\n")
    inside = write_archive(tmp_path / "a.tar", range(2))
    files.pipe(f"{root}/a.tar", (tmp_path / "a.tar").read_bytes())
    write_table(tmp_path / "a.parquet", [png(2)])
    files.pipe(f"{root}/a.parquet", (tmp_path / "a.parquet").read_bytes())
    patterns = [f"{root}/{name}" for name in ("photos", "list.csv", "a.tar", "a.parquet")]
    found = names_and_images(patterns, tmp_path, 2)
    assert list(found) == [
        f"{root}/photos/1.png",
        f"{root}/photos/none.png",
        *(f"{root}/a.tar{name.removeprefix(str(tmp_path / 'a.tar'))}" for name in inside),
        f"{root}/a.parquet/0",
    ]
    assert found[f"{root}/photos/1.png"] == pixels(1, tmp_path)
    assert found[f"{root}/photos/none.png"] == "no such file or directory."
    assert found[f"{root}/a.parquet/0"] == pixels(2, tmp_path)
