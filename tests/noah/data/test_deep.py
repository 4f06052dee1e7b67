from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from noah.data.decode import decode_image, inspect_image, open_image
from noah.data.decoding import Decoding
from noah.data.deep import depth_of, to_8_bits

RANDOM = np.random.default_rng(0)
TWELVE = Decoding(bit_depth=12)


def deep_png(values: np.ndarray, row_filter: int = 0) -> bytes:
    """A PNG of 16 bits: gray (H, W), gray and alpha (H, W, 2), RGB (H, W, 3) or RGBA (H, W, 4)."""
    channels = values.shape[2] if values.ndim == 3 else 1

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows, last = b"", np.zeros(2 * channels * values.shape[1], np.uint8)
    for row in values:
        stored = np.frombuffer(row.astype(">u2").tobytes(), np.uint8)
        rows += bytes([row_filter]) + (stored - last if row_filter == 2 else stored).tobytes()
        last = stored
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def deep_tiff(values: np.ndarray, order: str = "<", *, deflated: bool = False) -> bytes:
    """An RGB TIFF of 16 bits, (H, W, 3), in either byte order."""
    height, width, _ = values.shape
    strip = values.astype(f"{order}u2").tobytes()
    strip = zlib.compress(strip) if deflated else strip
    strip += b"\0" * (len(strip) % 2)
    at = 8 + len(strip)
    tags = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 3, at),
        (259, 3, 1, 8 if deflated else 1),
        (262, 3, 1, 2),
        (273, 4, 1, 8),
        (277, 3, 1, 3),
        (278, 4, 1, height),
        (279, 4, 1, len(strip)),
    ]

    def entry(tag: int, kind: int, count: int, value: int) -> bytes:
        short = kind == 3 and count == 1
        return struct.pack(f"{order}HHI", tag, kind, count) + (
            struct.pack(f"{order}HH", value, 0) if short else struct.pack(f"{order}I", value)
        )

    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HI", 42, at + 6)
    directory = struct.pack(f"{order}H", len(tags)) + b"".join(entry(*tag) for tag in tags) + b"\0\0\0\0"
    return head + strip + struct.pack(f"{order}HHH", 16, 16, 16) + directory


def expected(values: np.ndarray, depth: int) -> np.ndarray:
    scaled = np.round(np.minimum(values, 2**depth - 1) / (2**depth - 1) * 255).astype(np.uint8)
    return scaled if scaled.ndim == 3 else np.repeat(scaled[..., None], 3, axis=2)


def values_of(channels: int, depth: int = 12) -> np.ndarray:
    """Noise that reaches the largest value; gray without a third axis."""
    values = RANDOM.integers(0, 2**depth, (9, 7, channels)).astype(np.uint16)
    values[0, 0, 0] = 2**depth - 1
    return values[..., 0] if channels == 1 else values


@pytest.mark.parametrize("row_filter", [0, 2])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("depth", [8, 10, 12, 14])
def test_png_is_scaled_by_its_bits(channels: int, depth: int, row_filter: int) -> None:
    values = values_of(channels, depth)
    content = deep_png(values, row_filter)
    found = open_image(BytesIO(content), Decoding(bit_depth=depth))
    assert np.array_equal(found, expected(values, depth))
    assert inspect_image(BytesIO(content)).largest == values.max() == 2**depth - 1


@pytest.mark.parametrize("channels", [2, 4])
def test_alpha_of_16_bits(tmp_path: Path, channels: int) -> None:
    values = values_of(channels)
    values[..., -1] = 65535
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png(values))
    colors = values[..., 0] if channels == 2 else values[..., :3]
    assert inspect_image(path).unusual == ("16 bits",) and inspect_image(path).largest == colors.max()
    assert np.array_equal(open_image(path, TWELVE), expected(colors, 12))
    values[..., -1] = 0
    path.write_bytes(deep_png(values))
    assert inspect_image(path).unusual == ("16 bits", "transparent")
    assert np.array_equal(open_image(path, Decoding(alpha="white", bit_depth=12)), np.full((9, 7, 3), 255))
    assert np.array_equal(open_image(path, Decoding(alpha="ignore", bit_depth=12)), expected(colors, 12))


@pytest.mark.parametrize("deflated", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_color_tiff_in_both_byte_orders(order: str, deflated: bool) -> None:
    values = values_of(3)
    content = deep_tiff(values, order, deflated=deflated)
    assert np.array_equal(open_image(BytesIO(content)), values >> 8)  # as Pillow decodes it
    assert np.array_equal(open_image(BytesIO(content), TWELVE), expected(values, 12))
    assert inspect_image(BytesIO(content)).largest == 4095


@pytest.mark.parametrize("compression", [None, "tiff_lzw", "tiff_deflate"])
def test_gray_tiff(tmp_path: Path, compression: str | None) -> None:
    values = values_of(1)
    path = tmp_path / "deep.tif"
    Image.fromarray(values).save(path, compression=compression)
    assert np.array_equal(open_image(path, TWELVE), expected(values, 12))
    assert inspect_image(path).largest == 4095


def test_formats_that_declare_their_range_are_left_alone(tmp_path: Path) -> None:
    text = b"P2 2 1 4095 0 4095\n"
    path = tmp_path / "declared.pgm"
    path.write_bytes(text)
    assert inspect_image(path).unusual == ()
    assert np.asarray(open_image(path, TWELVE))[0, :, 0].tolist() == [0, 255]
    raw = b"P5 2 1 65535\n" + struct.pack(">HH", 0, 4095)
    path.write_bytes(raw)
    assert inspect_image(path).largest == 4095
    assert np.asarray(open_image(path, TWELVE))[0, :, 0].tolist() == [0, 255]


@pytest.mark.parametrize("channels", [1, 3])
def test_values_beyond_the_depth_become_white_and_are_told(channels: int) -> None:
    values = values_of(channels)
    found = decode_image(BytesIO(deep_png(values)), Decoding(bit_depth=10))
    assert found.remarks == ("too bright",)
    assert np.array_equal(found.image, expected(values, 10))
    assert decode_image(BytesIO(deep_png(values)), TWELVE).remarks == ()


def test_an_image_is_upright_whatever_its_depth(tmp_path: Path) -> None:
    values = values_of(1)
    exif = Image.Exif()
    exif[0x0112] = 6
    for suffix in (".png", ".tif"):
        path = tmp_path / f"turned{suffix}"
        Image.fromarray(values).save(path, exif=exif)
        assert np.array_equal(open_image(path, TWELVE), np.rot90(expected(values, 12), -1)), suffix


@given(st.integers(8, 16), st.integers(0, 65535))
def test_scaling_rounds_to_the_nearest(depth: int, value: int) -> None:
    white = 2**depth - 1
    (found,) = to_8_bits(np.array([value], np.uint16), depth).tolist()
    assert abs(found - min(value, white) * 255 / white) <= 0.5


def test_the_depth_is_the_fewest_usual_bits_that_hold_the_largest_value() -> None:
    largest = (0, 1, 255, 256, 1023, 1024, 4000, 4095, 4096, 16383, 16384, 65535)
    assert list(map(depth_of, largest)) == [16, 8, 8, 10, 10, 12, 12, 12, 14, 14, 16, 16]
