from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import timm
from packaging.version import Version
from PIL import Image

from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ArtifactError, UnreadableImageError

IMAGENET = Preprocessing(32, 32, "crop", 0.875, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
SIZES = [(32, 32), (36, 36), (33, 47), (47, 33), (5, 9), (101, 64), (64, 101), (37, 38), (36, 201), (1, 3), (500, 333)]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 3), np.uint8))


def landscape(width: int, height: int) -> Image.Image:
    """Smooth shades with edges and a little grain, as a photograph has."""
    y, x = np.mgrid[0:height, 0:width] / max(width, height)
    planes = [120 + 100 * np.sin(5 * x + 2 * y), 200 - 150 * y, 80 + 90 * ((x - 0.4) ** 2 + (y - 0.3) ** 2 < 0.04)]
    grain = np.random.default_rng(0).normal(0, 3, (height, width, 3))
    return Image.fromarray((np.stack(planes, -1) + grain).clip(0, 255).astype(np.uint8))


def timm_tensor(preprocessing: Preprocessing, image: Image.Image, **options: Any) -> np.ndarray:
    from timm.data import create_transform

    transform = create_transform(
        (3, preprocessing.height, preprocessing.width),
        is_training=False,
        interpolation=preprocessing.interpolation,
        crop_pct=preprocessing.crop_fraction,
        mean=preprocessing.mean,
        std=preprocessing.std,
        **options,
    )
    return np.asarray(transform(image))


@pytest.mark.parametrize("picture", [noise, landscape])
@pytest.mark.parametrize("fraction", [0.875, 0.9, 0.95, 0.96, 1.0, 0.5])
def test_crop_gives_the_bits_of_timm(picture: Any, fraction: float) -> None:
    for width, height in SIZES:
        image = picture(width, height)
        for interpolation in ("bicubic", "bilinear", "nearest"):
            ours = replace(IMAGENET, crop_fraction=fraction, interpolation=interpolation)
            unnormalized = timm_tensor(replace(ours, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0)), image)
            pixels = ours.pixels(image)
            assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
            assert np.array_equal(pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255), unnormalized)
            assert np.array_equal(ours.normalize(pixels[None])[0], timm_tensor(ours, image))


@pytest.mark.parametrize("interpolation", ["lanczos", "box", "hamming"])
def test_crop_knows_the_other_filters_of_timm(interpolation: str) -> None:
    ours, image = replace(IMAGENET, interpolation=interpolation), noise(71, 53)
    assert np.array_equal(ours.normalize(ours.pixels(image)[None])[0], timm_tensor(ours, image))


@pytest.mark.skipif(
    Version(timm.__version__) < Version("1.0.31"), reason="timm 1.0.28 resizes for inputs that are not square otherwise"
)
@pytest.mark.parametrize(("height", "width"), [(24, 40), (40, 24), (31, 32)])
@pytest.mark.parametrize("fraction", [0.875, 1.0])
def test_crop_gives_the_bits_of_timm_for_oblong_inputs(height: int, width: int, fraction: float) -> None:
    ours = replace(IMAGENET, height=height, width=width, crop_fraction=fraction)
    for size in SIZES:
        image = noise(*size)
        pixels = ours.pixels(image)
        assert pixels.shape == (height, width, 3)
        assert np.array_equal(ours.normalize(pixels[None])[0], timm_tensor(ours, image))


def test_squash_keeps_all_of_the_image() -> None:
    ours = replace(IMAGENET, resize="squash", height=20, width=30)
    image = landscape(101, 64)
    expected = timm_tensor(replace(ours, crop_fraction=1.0), image, crop_mode="squash")
    assert np.array_equal(ours.normalize(ours.pixels(image)[None])[0], expected)
    assert np.array_equal(ours.pixels(image), replace(ours, crop_fraction=0.5).pixels(image))


def test_normalize_gives_contiguous_planes_and_leaves_its_input_alone() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 4, 3), np.uint8)
    before = pixels.copy()
    planes = IMAGENET.normalize(pixels)
    assert planes.shape == (2, 3, 5, 4) and planes.dtype == np.float32 and planes.flags.c_contiguous
    expected = (pixels / 255 - np.array(IMAGENET.mean)) / np.array(IMAGENET.std)
    np.testing.assert_allclose(planes, expected.transpose(0, 3, 1, 2), atol=1e-6)
    assert np.array_equal(pixels, before)


def test_a_needle_of_an_image_is_refused_before_memory_is_taken() -> None:
    with pytest.raises(UnreadableImageError, match="1 x 4000000 pixels is too long and thin"):
        IMAGENET.pixels(Image.new("RGB", (1, 4_000_000)))


def test_json_round_trip() -> None:
    assert Preprocessing.from_json(json.loads(json.dumps(IMAGENET.to_json()))) == IMAGENET


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("height", 0),
        ("width", 2.5),
        ("width", True),
        ("resize", "pad"),
        ("resize", ["crop"]),
        ("crop_fraction", 0),
        ("crop_fraction", 1.5),
        ("crop_fraction", float("nan")),
        ("interpolation", "random"),
        ("interpolation", {}),
        ("mean", [0.5, 0.5]),
        ("mean", 0.5),
        ("std", [0.5, 0.0, 0.5]),
        ("std", ["a", "b", "c"]),
    ],
)
def test_from_json_names_the_wrong_value(key: str, value: Any) -> None:
    with pytest.raises(ArtifactError, match=key):
        Preprocessing.from_json(IMAGENET.to_json() | {key: value})


def test_from_json_names_missing_and_unknown_keys() -> None:
    mapping = IMAGENET.to_json() | {"color": 1}
    del mapping["std"]
    with pytest.raises(ArtifactError, match="unknown key 'color'; missing key 'std'"):
        Preprocessing.from_json(mapping)
