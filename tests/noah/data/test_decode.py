from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any, get_args

import numpy as np
import PIL
import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version
from PIL import Image

from noah.data import decode as images
from noah.data.decode import decode_image, inspect_image, open_image, upright_rgb
from noah.data.decoding import AS_STORED, Alpha, Decoding
from noah.data.formats import HEIC, IMAGE_SUFFIXES, JPEG_XL, import_decoder, is_image_path
from noah.errors import UnreadableImageError
from tests.noah.data.test_deep import deep_png

RANDOM = np.random.default_rng(0)
COLORS = RANDOM.integers(0, 256, (7, 5, 3), np.uint8)


def test_image_paths_are_told_by_their_suffix() -> None:
    assert is_image_path("a.JPG") and is_image_path(Path("b/c.tiff")) and is_image_path("x.y.png")
    assert not is_image_path("a.txt") and not is_image_path("jpg") and not is_image_path(".png")
    assert all(suffix == suffix.lower() and suffix.startswith(".") for suffix in IMAGE_SUFFIXES)


@pytest.mark.parametrize("suffix", sorted(IMAGE_SUFFIXES))
def test_every_suffix_can_be_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    encoder = {".jpe": "JPEG", ".jfif": "JPEG", ".pnm": "PPM"}.get(suffix)
    for extra in (HEIC, JPEG_XL):
        import_decoder(extra)
    image = Image.fromarray(COLORS)
    (image.convert("1") if suffix == ".pbm" else image.convert("L") if suffix == ".pgm" else image).save(path, encoder)
    assert open_image(path).size == (5, 7) and open_image(path).mode == "RGB"


def test_rgb_comes_through_unchanged_from_path_text_and_file(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(COLORS).save(path)
    assert np.array_equal(open_image(path), COLORS)
    assert np.array_equal(open_image(str(path)), COLORS)
    assert np.array_equal(open_image(io.BytesIO(path.read_bytes())), COLORS)
    with path.open("rb") as file:
        assert np.array_equal(open_image(file), COLORS)
        assert not file.closed


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int) -> None:
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    upright = Image.fromarray(COLORS)
    stored = upright.transpose(undo[orientation]) if orientation in undo else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / "image.png"
    stored.save(path, exif=exif)
    assert np.array_equal(open_image(path), COLORS)


def exif_bytes(*tags: tuple[int, int, bytes]) -> bytes:
    """EXIF with so many tags: number, type and four bytes of value."""
    entries = b"".join(struct.pack("<HHI", tag, kind, 1) + value for tag, kind, value in tags)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


TURNED = (0x0112, 3, b"\6\0\0\0")
ODD_EXIF = {
    "garbage": (b"garbagegarbage", False),
    "a tag of the wrong type": (exif_bytes(TURNED, (0x013B, 3, b"\7\0\0\0")), True),
    "an artist that is a fraction": (exif_bytes(TURNED, (0x013B, 11, b"\0\0\x80\x3f")), True),
    "a width in letters": (exif_bytes((0x0100, 2, b"a\0\0\0"), TURNED), True),
    "an orientation that there is not": (exif_bytes((0x0112, 3, b"\x63\0\0\0")), False),
    "an orientation in letters": (exif_bytes((0x0112, 2, b"six\0")), False),
    "an orientation beyond its end": (exif_bytes((0x0112, 5, b"\xff\xff\xff\xff")), False),
    "cut in a tag": (exif_bytes(TURNED)[:-9], False),
    "cut in its header": (b"Exif\0\0II*", False),
    "empty": (b"Exif\0\0", False),
}


def with_exif(exif: bytes, suffix: str) -> bytes:
    content = io.BytesIO()
    image = Image.fromarray(COLORS)
    if suffix == ".tif":
        image.save(content, "TIFF", tiffinfo={0x0112: 6, 0x013B: "noah"})
        artist = content.getvalue().index(struct.pack("<HH", 0x013B, 2))
        return content.getvalue()[: artist + 2] + struct.pack("<HI", 3, 1) + content.getvalue()[artist + 8 :]
    if suffix == ".raw.png":  # as ImageMagick keeps it
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\nno hexadecimal digits\n")
        image.save(content, "PNG", pnginfo=info)
    else:
        options = {"lossless": True} if suffix == ".webp" else {}
        image.save(content, suffix.removeprefix("."), exif=exif, **options)
    return content.getvalue()


@pytest.mark.parametrize("decoding", [AS_STORED, Decoding("black", 12, True)])
@pytest.mark.parametrize("suffix", [".png", ".jpeg", ".webp"])
@pytest.mark.parametrize("name", ODD_EXIF)
def test_exif_that_cannot_be_read_damages_no_image(name: str, suffix: str, decoding: Decoding) -> None:
    exif, turned = ODD_EXIF[name]
    content = with_exif(exif, suffix)
    with Image.open(io.BytesIO(content)) as stored:
        expected = stored.convert("RGB")
        open_already = upright_rgb(stored, "an image", decoding)
    if turned:
        expected = expected.transpose(Image.Transpose.ROTATE_270)
    assert inspect_image(io.BytesIO(content)).damage == ""
    found = decode_image(io.BytesIO(content), decoding)
    assert np.array_equal(found.image, expected) and found.remarks == ()
    assert np.array_equal(open_already, expected)


def test_deep_images_are_turned_by_exif_of_which_a_part_is_wrong() -> None:
    values = np.arange(35, dtype=np.uint16).reshape(7, 5) * 100
    for name, (exif, turned) in ODD_EXIF.items():
        content = io.BytesIO()
        Image.fromarray(values).save(content, "PNG", exif=exif)
        size = (7, 5) if turned else (5, 7)
        assert open_image(content, Decoding(bit_depth=12)).size == open_image(content).size == size, name


@pytest.mark.parametrize("suffix", [".tif", ".raw.png"])
def test_exif_of_other_kinds_that_cannot_be_read(suffix: str) -> None:
    content = with_exif(b"", suffix)
    assert inspect_image(io.BytesIO(content)).damage == ""
    turned = np.rot90(COLORS, -1) if suffix == ".tif" else COLORS
    assert np.array_equal(open_image(io.BytesIO(content)), turned)


@given(exif=st.binary(max_size=60), suffix=st.sampled_from([".png", ".jpeg", ".webp"]), whole=st.booleans())
def test_no_damage_is_told_exactly_if_the_image_can_be_opened(exif: bytes, suffix: str, whole: bool) -> None:
    content = with_exif(b"Exif\0\0II*\0\x08\0\0\0" + exif, suffix)
    content = content if whole else content[: len(content) - 30]
    found = inspect_image(io.BytesIO(content))
    try:
        open_image(io.BytesIO(content))
    except UnreadableImageError:
        assert found.damage
    else:
        assert not found.damage and whole


@pytest.mark.parametrize("suffix", [".png", ".tif", ".pgm"])
def test_sixteen_bit_gray_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 128, 129, 255, 256, 257], [1000, 32767, 32768, 40000, 65406, 65535]], np.uint16)
    path = tmp_path / f"deep{suffix}"
    Image.fromarray(values).save(path)
    expected = np.round(values / 257).astype(np.uint8)
    assert np.array_equal(open_image(path), np.repeat(expected[..., None], 3, axis=2))


def test_big_endian_sixteen_bit_tiff(tmp_path: Path) -> None:
    path = tmp_path / "deep.tif"
    image = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 257, 65535))
    image.save(path)
    assert np.asarray(open_image(path))[0, :, 0].tolist() == [1, 255]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGBA", "CMYK", "YCbCr"])
def test_other_modes_become_rgb_as_pillow_does_it(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(COLORS)
    image = image.convert("L").convert("LA") if mode == "LA" else image.convert(mode)
    path = tmp_path / ("image.png" if mode in {"1", "L", "LA", "P", "RGBA"} else "image.tif")
    image.save(path)
    if mode == "YCbCr" and Version(PIL.__version__) < Version("12"):
        pytest.skip("Pillow 11.3 cannot read the YCbCr that it writes")
    with Image.open(path) as stored:
        assert np.array_equal(open_image(path), stored.convert("RGB"))


@pytest.mark.filterwarnings("error")
def test_palette_with_transparency_gives_the_palette_colors_without_a_warning(tmp_path: Path) -> None:
    palette = Image.fromarray(COLORS).quantize(16)
    path = tmp_path / "image.png"
    palette.save(path, transparency=bytes(range(0, 160, 10)))
    assert np.array_equal(open_image(path), palette.convert("RGB"))


def test_an_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    path = tmp_path / "moving.gif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert open_image(path).getpixel((0, 0)) == (255, 0, 0)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".bmp", ".tif"])
def test_truncated_files_are_errors(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UnreadableImageError) as caught:
        open_image(path)
    assert caught.value.problem == f"Cannot read {path}: {caught.value.cause}" and "\n" not in caught.value.problem


@pytest.mark.parametrize(
    "content", [b"", b"not an image", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"P6\n-1 2\n255\n"]
)
def test_rubbish_is_an_error_on_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with pytest.raises(UnreadableImageError) as caught:
        open_image(path)
    assert str(path) in caught.value.problem and "\n" not in caught.value.problem


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(UnreadableImageError, match=r"absent\.png: no such file or directory"):
        open_image(tmp_path / "absent.png")
    with pytest.raises(UnreadableImageError, match="is a directory"):
        open_image(tmp_path)


def test_postscript_is_not_even_tried(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n")
    with pytest.raises(UnreadableImageError, match="in no image format that noah knows"):
        open_image(path)


def png_header(width: int, height: int) -> bytes:
    """A PNG file that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_000, 100_000])  # Pillow warns of the first and refuses the second.
def test_decompression_bombs_are_refused_by_their_header(tmp_path: Path, side: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(side, side))
    with pytest.raises(UnreadableImageError, match="than the 89,478,485 pixels that noah decodes") as caught:
        open_image(path)
    assert str(path) in caught.value.problem and "smaller size" in caught.value.hint


@pytest.mark.filterwarnings("error::PIL.Image.DecompressionBombWarning")
def test_a_bomb_warning_turned_into_an_exception_is_told_alike(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(10_000, 10_000))
    with pytest.raises(UnreadableImageError, match="89,478,485 pixels"):
        open_image(path)


def test_our_own_limit_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "image.png"
    Image.fromarray(COLORS).save(path)
    monkeypatch.setattr(images, "MAXIMUM_PIXELS", 35)
    assert open_image(path).size == (5, 7)
    monkeypatch.setattr(images, "MAXIMUM_PIXELS", 34)
    with pytest.raises(UnreadableImageError, match="5 x 7, more than the 34 pixels"):
        open_image(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.array([[0, 70_000]], np.int32), "32-bit integer"),
        (np.array([[-1, 5]], np.int32), "32-bit integer"),
        (np.array([[0.0, 0.5]], np.float32), "floating-point"),
    ],
)
def test_pixels_of_unknown_range_are_refused_rather_than_clipped(
    tmp_path: Path, values: np.ndarray, message: str
) -> None:
    path = tmp_path / "deep.tif"
    Image.fromarray(values).save(path)
    with pytest.raises(UnreadableImageError, match=message):
        open_image(path)


CUT = Decoding(repair=True)


def jpeg(size: tuple[int, int] = (200, 160), **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(COLORS).resize(size).save(content, "JPEG", **options)
    return content.getvalue()


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("lost", [1, 2, 50, 2000])
def test_a_jpeg_without_its_end_is_decoded_as_far_as_it_goes(lost: int, progressive: bool) -> None:
    whole = jpeg(progressive=progressive)
    content = whole[:-lost]
    assert inspect_image(io.BytesIO(content)).repairable
    with pytest.raises(UnreadableImageError, match="truncated"):
        open_image(io.BytesIO(content))
    found = decode_image(io.BytesIO(content), CUT)
    assert found.remarks == ("repaired",)
    expected = np.asarray(open_image(io.BytesIO(whole)))
    if lost <= 2:  # only the mark of the end
        assert np.array_equal(found.image, expected)
    elif not progressive:
        same = (np.asarray(found.image) == expected).all(axis=(1, 2))
        assert same[:16].all() and not same[-8:].any()
        assert (np.asarray(found.image)[-1, -1] == 128).all()


def test_what_is_whole_is_not_changed_by_the_wish_to_repair() -> None:
    assert np.array_equal(open_image(io.BytesIO(jpeg()), CUT), open_image(io.BytesIO(jpeg())))
    assert decode_image(io.BytesIO(jpeg()), CUT).remarks == ()


@pytest.mark.parametrize("suffix", [".png", ".webp", ".gif", ".tif"])
def test_other_formats_are_not_repaired(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image{suffix}"
    Image.fromarray(RANDOM.integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    found = inspect_image(path)
    assert found.damage and not found.repairable
    with pytest.raises(UnreadableImageError) as caught:
        open_image(path, CUT)
    assert caught.value.cause == found.damage


@given(st.data())
def test_a_cut_jpeg_is_repairable_exactly_if_it_is_repaired(data: st.DataObject) -> None:
    """Wherever it ends: before, in or behind its header; and nothing but the one kind of error is raised."""
    whole = jpeg((40, 32), progressive=data.draw(st.booleans()))
    content = whole[: data.draw(st.integers(0, len(whole) - 1))]
    found = inspect_image(io.BytesIO(content))
    assert found.damage
    try:
        image = open_image(io.BytesIO(content), CUT)
    except UnreadableImageError:
        assert not found.repairable
    else:
        assert found.repairable and image.size == (40, 32)


def clear(mode: str) -> Image.Image:
    """A red pixel, one that is half clear, and a clear one under which there is green."""
    image = Image.new("RGBA", (3, 1))
    for place, color in enumerate([(255, 0, 0, 255), (255, 0, 0, 128), (0, 255, 0, 0)]):
        image.putpixel((place, 0), color)
    return image.quantize(8) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize(
    ("alpha", "expected"),
    [
        ("white", [(255, 0, 0), (255, 127, 127), (255, 255, 255)]),
        ("black", [(255, 0, 0), (128, 0, 0), (0, 0, 0)]),
        ("ignore", [(255, 0, 0), (255, 0, 0), (0, 255, 0)]),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif", ".webp"])
def test_what_transparent_pixels_are_laid_on(
    tmp_path: Path, suffix: str, alpha: Alpha, expected: list[tuple[int, int, int]]
) -> None:
    path = tmp_path / f"clear{suffix}"
    clear("RGBA").save(path, **({"lossless": True, "exact": True} if suffix == ".webp" else {}))
    found = open_image(path, Decoding(alpha=alpha))
    assert [found.getpixel((place, 0)) for place in range(3)] == expected
    assert inspect_image(path).unusual == ("transparent",)


@pytest.mark.parametrize("mode", ["P", "LA", "L", "RGB", "1"])
def test_every_way_of_being_transparent(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "clear.png"
    if mode in ("P", "LA"):
        clear(mode).save(path)
    else:  # one color of an image without an alpha channel is said to be clear
        image = Image.new(mode, (3, 1))
        image.putpixel((0, 0), (1, 2, 3) if mode == "RGB" else 1)
        image.save(path, transparency=(0, 0, 0) if mode == "RGB" else 0)
    assert inspect_image(path).unusual == ("transparent",)
    assert open_image(path, Decoding(alpha="white")).getpixel((2, 0)) == (255, 255, 255)
    assert open_image(path, Decoding(alpha="black")).getpixel((2, 0)) == (0, 0, 0)


def test_opaque_images_are_the_same_on_every_ground(tmp_path: Path) -> None:
    path = tmp_path / "opaque.png"
    Image.fromarray(COLORS).convert("RGBA").save(path)
    assert inspect_image(path).unusual == ()
    for alpha in get_args(Alpha):
        assert np.array_equal(open_image(path, Decoding(alpha=alpha)), COLORS)


@pytest.mark.parametrize("suffix", [".jpg", ".jp2"])
@pytest.mark.parametrize(("limit", "size"), [(8000, (100, 80)), (7999, (50, 40)), (1999, (25, 20)), (499, (13, 10))])
def test_too_many_pixels_are_decoded_reduced(
    tmp_path: Path, suffix: str, limit: int, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"large{suffix}"
    picture = Image.fromarray(COLORS).resize((100, 80), Image.Resampling.BICUBIC)
    picture.save(path)
    monkeypatch.setattr(images, "MAXIMUM_PIXELS", limit)
    found = open_image(path)
    assert found.size == size
    assert inspect_image(path).unusual == (("reduced",) if limit < 8000 else ())
    assert inspect_image(path).size == (100, 80)
    smaller = np.asarray(picture.resize(size, Image.Resampling.BOX)).astype(int)
    assert np.abs(np.asarray(found) - smaller).mean() < 30  # unrelated pixels differ by 70
    monkeypatch.setattr(images, "MAXIMUM_PIXELS", 100)
    assert "100 x 80, more than the 100 pixels" in inspect_image(path).damage


def test_a_photo_beyond_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "panorama.jpg"
    Image.new("L", (15_000, 6_000), 77).save(path)
    found = open_image(path)
    assert found.size == (7_500, 3_000) and found.getpixel((0, 0)) == (77, 77, 77)


@pytest.mark.parametrize(("progressive", "side"), [(False, 32_769), (True, 11_586)])
def test_a_jpeg_that_claims_too_much_is_refused_by_its_header(progressive: bool, side: int) -> None:
    content = bytearray(jpeg(progressive=progressive))
    frame = content.index(b"\xff\xc2" if progressive else b"\xff\xc0")
    content[frame + 5 : frame + 9] = struct.pack(">HH", side, side)
    with pytest.raises(UnreadableImageError, match=f"{side} x {side}, more than the 89,478,485 pixels"):
        open_image(io.BytesIO(bytes(content)), CUT)


def test_an_animation_and_pages_are_told(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), color) for color in ("red", "blue")]
    for suffix in (".gif", ".webp", ".tif", ".png"):
        path = tmp_path / f"moving{suffix}"
        frames[0].save(path, save_all=True, append_images=frames[1:])
        assert inspect_image(path).unusual == ("several frames",), suffix
        frames[0].save(path)
        assert inspect_image(path).unusual == (), suffix


@pytest.mark.parametrize("wrong", [{"alpha": "red"}, {"bit_depth": 7}, {"bit_depth": 12.0}, {"repair": 1}, {"x": 1}])
def test_a_stored_decoding_is_checked(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Decoding.from_json(wrong)
    assert Decoding.from_json(Decoding("black", 12, True).to_json()) == Decoding("black", 12, True)
    assert Decoding.from_json({}) == Decoding()


@pytest.mark.parametrize("decoding", [AS_STORED, Decoding(alpha="black", bit_depth=12)])
@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "CMYK", "I;16", "RGB"])
def test_an_image_that_is_open_becomes_what_its_file_would(tmp_path: Path, mode: str, decoding: Decoding) -> None:
    values = np.arange(600, dtype=np.uint16).reshape(20, 30) * 100
    made = Image.fromarray(values) if mode == "I;16" else Image.fromarray((values % 256).astype(np.uint8)).convert(mode)
    path = tmp_path / "image.tif"
    made.save(path)
    before = made.tobytes()
    found = upright_rgb(made, "an image", decoding)
    assert (found.mode, made.mode, made.tobytes()) == ("RGB", mode, before)
    np.testing.assert_array_equal(np.asarray(found), np.asarray(open_image(path, decoding)))


@pytest.mark.parametrize("name", ["gray.jp2", "gray.pgm"])
def test_an_open_image_whose_file_says_its_range_is_read_so(name: str, tmp_path: Path) -> None:
    decoding, values = Decoding(bit_depth=12), np.arange(600, dtype=np.uint16).reshape(20, 30) * 6
    if name == "gray.jp2":
        Image.fromarray(values).save(tmp_path / name)
    else:
        (tmp_path / name).write_bytes(b"P5 30 20 3594\n" + values.astype(">u2").tobytes())
    expected = np.asarray(open_image(tmp_path / name, decoding))
    with Image.open(tmp_path / name) as image:
        np.testing.assert_array_equal(np.asarray(upright_rgb(image, "an image", decoding)), expected)


def test_an_open_image_with_colors_of_12_bits_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    path.write_bytes(deep_png(np.arange(48, dtype=np.uint16).reshape(4, 4, 3) * 80))
    with Image.open(path) as image:
        with pytest.raises(
            UnreadableImageError, match="Cannot read an image: Pillow gives only 8 of the 16 bits"
        ) as no:
            upright_rgb(image, "an image", Decoding(bit_depth=12))
        assert no.value.hint == "Pass its file instead."
        found = upright_rgb(image, "an image")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(open_image(path)))


def test_an_open_image_is_refused_where_its_file_would_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnreadableImageError, match="Cannot read an image: its floating-point pixels"):
        upright_rgb(Image.new("F", (4, 4)), "an image")
    path = tmp_path / "cut.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(UnreadableImageError, match="Cannot read an image: "):
        upright_rgb(Image.open(path), "an image")
    monkeypatch.setattr(images, "MAXIMUM_PIXELS", 15)
    with pytest.raises(UnreadableImageError, match="4 x 4, more than the 15 pixels"):
        upright_rgb(Image.new("RGB", (4, 4)), "an image")
