from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from noah.data.sources.vtab.lossy_copies import lossy_note


def save(folder: Path, file_format: str, size: tuple[int, int], name: str = "0") -> Path:
    path = folder / name
    Image.new("RGB", size).save(path, format=file_format)
    return path


@pytest.mark.parametrize(
    ("file_format", "size", "warned"),
    [
        ("JPEG", (32, 32), True),
        ("JPEG", (64, 40), True),
        ("JPEG", (65, 40), False),
        ("PNG", (32, 32), False),
    ],
)
def test_small_jpeg_files_are_warned_of(tmp_path: Path, file_format: str, size: tuple[int, int], warned: bool) -> None:
    note = lossy_note([save(tmp_path, file_format, size)])
    assert (note is not None) == warned
    if note:
        assert f"JPEG files of {size[0]} x {size[1]} pixels" in note and "as PNG" in note


def test_all_of_the_first_images_have_to_be_small_jpeg(tmp_path: Path) -> None:
    small, large = save(tmp_path, "JPEG", (32, 32), "a"), save(tmp_path, "JPEG", (320, 32), "b")
    assert lossy_note([small, large]) is None
    assert lossy_note([small, small, small, large]) is not None  # the fourth is not looked at


def test_what_cannot_be_read_is_left_to_the_decoder(tmp_path: Path) -> None:
    (tmp_path / "0").write_bytes(b"\xff\xd8\xff nothing more")
    assert lossy_note([tmp_path / "0"]) is None
    assert lossy_note([tmp_path / "missing"]) is None
    assert lossy_note([]) is None
