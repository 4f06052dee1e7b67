"""Image files of the kinds that people have, and files that only look like images."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

_rng = np.random.default_rng(3)


def noise(height: int, width: int, channels: int = 3) -> np.ndarray:
    """uint8 (height, width, channels), smooth enough to survive JPEG."""
    coarse = _rng.integers(0, 256, (4, 4, channels), dtype=np.uint8)
    return np.asarray(np.kron(coarse, np.ones((-(-height // 4), -(-width // 4), 1), np.uint8))[:height, :width])


def write_readable(folder: Path) -> list[Path]:
    """One file of each kind that has to be predicted, sorted."""
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise(20, 31)).save(folder / "plain.png")
    Image.fromarray(noise(31, 20)).save(folder / "plain.jpg", quality=90)
    Image.fromarray(noise(16, 16, 4), "CMYK").save(folder / "cmyk.jpg")
    Image.fromarray(_rng.integers(0, 65536, (12, 15), dtype=np.uint16)).save(folder / "sixteen_bit.png")
    Image.fromarray(noise(14, 14)).quantize(8).save(folder / "palette.png", transparency=0)
    Image.fromarray(noise(10, 10, 4), "RGBA").save(folder / "alpha.webp", lossless=True)
    Image.fromarray(noise(1, 1)).save(folder / "one_pixel.png")
    Image.fromarray(noise(9, 9)[:, :, 0]).save(folder / "gray.bmp")
    Image.fromarray(noise(24, 20_000)).save(folder / "wide.jpg")
    rotated = Image.Exif()
    rotated[0x0112] = 6
    Image.fromarray(noise(12, 30)).save(folder / "rotated.jpg", exif=rotated)
    return sorted(folder.iterdir())


def write_ycbcr(folder: Path) -> None:
    """A TIFF file of the colors that JPEG has, if Pillow can read it again: 11.3 cannot."""
    path = folder / "ycbcr.tif"
    Image.fromarray(noise(13, 17)).convert("YCbCr").save(path)
    try:
        Image.open(path).load()
    except OSError:
        path.unlink()


def write_broken(folder: Path) -> list[Path]:
    """Files with the suffix of an image that cannot be read, sorted."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("this is no image\n")
    for suffix in ("jpg", "png"):
        whole = io.BytesIO()
        Image.fromarray(_rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
            whole, {"jpg": "JPEG", "png": "PNG"}[suffix]
        )
        (folder / f"truncated.{suffix}").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    return sorted(folder.iterdir())
