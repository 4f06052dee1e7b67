from __future__ import annotations

import sys
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from noah.data.image_hash import NEAR, Hasher, Hashes, is_sampled, pixel_hash
from noah.errors import MissingPackageError
from tests.conftest import draw_photo


def photo(seed: int, side: int = 96) -> Image.Image:
    """Large soft shapes, as of a photograph."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), dtype=np.uint8))
    return coarse.resize((side, side), Image.Resampling.BICUBIC)


def saved(image: Image.Image, **options: int) -> Image.Image:
    file = BytesIO()
    image.save(file, "JPEG", **options)
    return Image.open(file).convert("RGB")


def near_hashes(*images: Image.Image) -> np.ndarray:
    hasher = Hasher(len(images), near=True)
    for index, image in enumerate(images):
        hasher.look(index, image)
    near = hasher.hashes().near
    assert near is not None
    return near


def distance(one: Image.Image, other: Image.Image) -> int:
    first, second = near_hashes(one, other)
    return int(np.bitwise_count(first ^ second))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1))
def test_the_hash_is_of_the_pixels_and_their_size(width: int, height: int, seed: int) -> None:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    found = pixel_hash(Image.fromarray(pixels))
    assert found == pixel_hash(Image.fromarray(pixels.copy())) and 0 < found < 2**64 and not is_sampled(found)
    other = pixels.copy()
    other[seed % height, seed % width, seed % 3] ^= 1
    assert pixel_hash(Image.fromarray(other)) != found
    assert (pixel_hash(Image.fromarray(pixels.reshape(width, height, 3))) == found) == (width == height)


def test_of_a_large_image_some_pixels_are_hashed_and_the_hash_says_so() -> None:
    pixels = np.zeros((700, 600, 3), np.uint8)
    assert is_sampled(pixel_hash(Image.fromarray(pixels)))
    pixels[300:310, 200:210] = 1
    assert pixel_hash(Image.fromarray(pixels)) != pixel_hash(Image.new("RGB", (600, 700)))
    assert pixel_hash(Image.new("RGB", (600, 700))) != pixel_hash(Image.new("RGB", (700, 600)))


@pytest.mark.parametrize("seed", range(5))
def test_copies_at_another_size_or_quality_are_near(seed: int) -> None:
    image = photo(seed)
    assert distance(image, saved(image, quality=40)) <= NEAR
    assert distance(image, image.resize((48, 48))) <= NEAR
    assert distance(image, image.resize((300, 200))) <= NEAR
    assert distance(image, image.convert("L").convert("RGB")) <= NEAR


def test_other_images_are_not_near() -> None:
    rng = np.random.default_rng(0)
    images = [photo(seed) for seed in range(8)]
    images += [Image.fromarray(draw_photo(name, rng)) for name in ("circle", "square", "stripes") for _ in range(4)]
    near = near_hashes(*images)
    apart = np.bitwise_count(near[:, None] ^ near[None]) + 999 * np.eye(len(near), dtype=int)
    assert apart.min() > NEAR


def test_an_image_that_shows_nothing_has_no_perceptual_hash() -> None:
    assert not near_hashes(Image.new("RGB", (30, 30), (9, 9, 9)), Image.new("RGB", (30, 30), "white")).any()


def test_images_that_were_not_read_have_no_hash() -> None:
    hasher = Hasher(3, near=False)
    hasher.look(1, photo(0))
    hashes: Hashes = hasher.hashes()
    assert len(hashes) == 3 and hashes.near is None
    assert (hashes.exact != 0).tolist() == [False, True, False]


def test_without_imagehash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "imagehash", None)
    Hasher(1, near=False)
    with pytest.raises(MissingPackageError, match="imagehash, which is not installed") as caught:
        Hasher(1, near=True)
    assert "pip install 'noah-prompt-search[near]'" in caught.value.hint
