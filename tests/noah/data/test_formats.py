from __future__ import annotations

import pickle
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from noah.data import formats
from noah.data.decode import inspect_image, open_image
from noah.data.formats import EXTRAS, HEIC, JPEG_XL, Extra, MissingDecoderError, extra_of, import_decoder
from noah.errors import UnreadableImageError

SMOOTH = np.stack(np.meshgrid(np.arange(0, 240, 4), np.arange(0, 160, 4), indexing="ij"), axis=-1)
COLORS = np.concatenate([SMOOTH, np.full((60, 40, 1), 90)], axis=-1).astype(np.uint8)


def encoded(extra: Extra, image: Image.Image, **options: Any) -> bytes:
    import_decoder(extra)
    content = BytesIO()
    image.save(content, extra.format, **options)
    return content.getvalue()


@pytest.fixture(params=EXTRAS, ids=lambda extra: extra.extra)
def extra(request: pytest.FixtureRequest) -> Extra:
    found: Extra = request.param
    return found


@pytest.mark.parametrize("name", ["photo.heic", "photo.jxl", "photo.jpg"])
def test_files_are_told_by_their_content_not_their_name(tmp_path: Path, extra: Extra, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(encoded(extra, Image.fromarray(COLORS)))
    found = open_image(path)
    assert (found.size, found.mode) == ((40, 60), "RGB")
    assert np.abs(np.asarray(found).astype(int) - COLORS).mean() < 6
    assert inspect_image(path).damage == ""


def test_transparency_of_these_formats(extra: Extra) -> None:
    clear = Image.fromarray(COLORS)
    clear.putalpha(Image.fromarray(np.full((60, 40), 7, np.uint8)))
    assert inspect_image(BytesIO(encoded(extra, clear))).unusual == ("transparent",)


def test_a_damaged_file_is_an_error(extra: Extra) -> None:
    content = encoded(extra, Image.fromarray(COLORS))
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(UnreadableImageError):
            open_image(BytesIO(content[: int(len(content) * share)]))
    assert not inspect_image(BytesIO(content[: len(content) // 2])).repairable


def test_without_the_package_the_line_that_installs_it_is_told(
    tmp_path: Path, extra: Extra, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(extra, Image.fromarray(COLORS)))
    monkeypatch.setitem(sys.modules, extra.package, None)
    with pytest.raises(MissingDecoderError) as caught:
        open_image(path)
    assert str(path) in caught.value.problem
    assert f"pip install 'noah-prompt-search[{extra.extra}]'" in caught.value.cause
    again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  # it was pickled here
    assert (again.problem, again.extra) == (caught.value.problem, extra)
    found = inspect_image(path)
    assert (found.missing, found.damage, found.repairable) == (extra.extra, extra.cause, False)


def test_avif_is_not_taken_for_heic(tmp_path: Path) -> None:
    path = tmp_path / "photo.avif"
    Image.fromarray(COLORS).save(path)
    assert extra_of(path.read_bytes()[:64]) is None and open_image(path).size == (40, 60)


@given(st.binary(max_size=64))
def test_any_beginning_is_some_format_or_none(head: bytes) -> None:
    assert extra_of(head) in (None, HEIC, JPEG_XL)


@pytest.mark.parametrize("size", [(8, 8), (256, 256), (40, 60), (300, 200), (1000, 7), (9000, 3), (640, 480)])
@pytest.mark.parametrize("container", [False, True])
def test_the_size_in_the_header_of_jpeg_xl(size: tuple[int, int], container: bool) -> None:
    content = encoded(JPEG_XL, Image.new("L", size), use_container=container)
    start = content.index(b"\xff\x0a", 12 if content.startswith(b"\x00\x00\x00\x0cJXL") else 0)
    assert formats._jxl_size(content[start + 2 :]) == size


def test_a_large_jpeg_xl_is_refused_before_it_is_decoded() -> None:
    """A header of 2^18 x 2^18 pixels, with nothing behind it."""
    bits = 0 | (3 << 1) | ((2**18 - 1) << 3) | (1 << 33)
    with pytest.raises(UnreadableImageError, match="than the 89,478,485 pixels"):
        open_image(BytesIO(b"\xff\x0a" + bits.to_bytes(8, "little") + bytes(100)))
