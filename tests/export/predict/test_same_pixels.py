"""What training sees of a file is what `noah predict` sees of it, bit for bit, whatever kind of image it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from export.predict.image_batches import read_ahead
from export.predict.image_paths import find_images
from noah.data.pixels.pixels import load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import FileSplit
from tests.export.real_images import noise, write_readable, write_ycbcr

SQUASH = Preprocessing(16, 16, "squash", 1.0, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file of each kind that people have, smaller than a patch some of them."""
    folder = tmp_path_factory.mktemp("kinds") / "images"
    write_readable(folder)
    alpha = noise(13, 17, 4)
    Image.fromarray(alpha, "RGBA").save(folder / "rgba.png")
    Image.fromarray(alpha[..., :2], "LA").save(folder / "la.png")
    Image.fromarray(alpha[..., :3]).quantize(16).save(folder / "p.png", transparency=bytes(range(0, 160, 10)))
    Image.fromarray(alpha[..., 0] > 128).save(folder / "bits.png")
    Image.fromarray(np.arange(60, dtype=np.uint16).reshape(6, 10) * 1000).save(folder / "deep.tif")
    write_ycbcr(folder)
    Image.fromarray(noise(1, 700)).save(folder / "line.png")
    Image.fromarray(noise(2, 3)).save(folder / "six_pixels.gif")
    return folder


@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_the_pixels_are_the_same(folder: Path, resize: Literal["squash", "crop"]) -> None:
    preprocessing = replace(SQUASH, resize=resize, crop_fraction=1.0 if resize == "squash" else 0.9)
    paths = list(find_images([str(folder)]))
    assert len(paths) == 17 + (folder / "ycbcr.tif").exists()
    trained = load_pixels(FileSplit(tuple(paths), np.zeros(len(paths), np.int64)), preprocessing)
    (predicted,) = read_ahead(paths, preprocessing.pixels, batch_size=64, workers=2, depth=1)
    assert predicted.paths == tuple(paths)
    assert not predicted.failures
    np.testing.assert_array_equal(trained.batch(np.arange(len(paths))), predicted.pixels)


def test_alpha_is_left_out_in_both(folder: Path) -> None:
    """The colors of transparent pixels count: no background is invented."""
    with Image.open(folder / "rgba.png") as stored:
        opaque = Image.fromarray(np.asarray(stored)[..., :3].copy())
    (batch,) = read_ahead([folder / "rgba.png"], SQUASH.pixels, batch_size=1, workers=1, depth=1)
    np.testing.assert_array_equal(batch.pixels[0], SQUASH.pixels(opaque))


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 300), (300, 1), (3, 2), (7, 7)])
@pytest.mark.parametrize("resize", ["squash", "crop"])
def test_images_smaller_than_a_patch_become_whole_inputs(
    height: int, width: int, resize: Literal["squash", "crop"]
) -> None:
    image = Image.fromarray(np.full((height, width, 3), (10, 200, 90), np.uint8))
    found = replace(SQUASH, resize=resize).pixels(image)
    assert found.shape == (16, 16, 3)
    assert np.unique(found.reshape(-1, 3), axis=0).tolist() == [[10, 200, 90]]
