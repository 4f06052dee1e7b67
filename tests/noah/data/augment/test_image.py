from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from timm.data.auto_augment import rand_augment_transform

from noah.data.augment.image import Augmentation, _posterize
from noah.data.augment.seeding import seeded
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import ArraySplit
from noah.settings.training_settings import AugmentationSettings
from tests.conftest import draw_photo
from tests.noah.global_random_state import set_global_state, unmoved_global_state

HEIGHT, WIDTH = 24, 32
FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
ONE_IMAGE = {
    "random_resized_crop": (0.08, 1),
    "horizontal_flip": 0.5,
    "randaugment": "rand-m9-mstd0.5-inc1",
    "color_jitter": 0.4,
}


def preprocessing(interpolation: str = "bicubic", mean: tuple[float, float, float] = (0.5, 0.5, 0.5)) -> Preprocessing:
    return Preprocessing(HEIGHT, WIDTH, "squash", 1.0, interpolation, mean, (0.5, 0.5, 0.5))


def augmentation(interpolation: str = "bicubic", **values: Any) -> Augmentation:
    return Augmentation(AugmentationSettings(**values), preprocessing(interpolation))


def photo(height: int = 60, width: int = 90, seed: int = 0) -> Image.Image:
    return Image.fromarray(draw_photo("stripes", np.random.default_rng(seed), height, width))


def small_photo() -> Image.Image:
    return photo().resize((WIDTH, HEIGHT))


def drawn(augment: Augmentation, image: Image.Image, count: int) -> list[np.ndarray]:
    return [augment.apply(image, (0, number)) for number in range(1, count + 1)]


@pytest.mark.parametrize("name", ONE_IMAGE)
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(name: str) -> None:
    augment = augmentation(**{name: ONE_IMAGE[name]})
    image = photo() if augment.crops else small_photo()
    before = image.tobytes()
    set_global_state(1)
    first = drawn(augment, image, 20)
    set_global_state(2)
    assert [a.tobytes() for a in drawn(augment, image, 20)[::-1]] == [a.tobytes() for a in first[::-1]]
    different = len({pixels.tobytes() for pixels in first})
    assert different == 2 if name == "horizontal_flip" else different > 10
    assert image.tobytes() == before


def test_the_global_generators_stay() -> None:
    augment = augmentation(**ONE_IMAGE)
    set_global_state(5)
    with unmoved_global_state():
        drawn(augment, photo(), 5)


def test_with_everything_off_nothing_changes() -> None:
    augment = augmentation()
    assert not augment.crops
    assert np.array_equal(augment.apply(small_photo(), (1,)), np.asarray(small_photo()))
    assert not AugmentationSettings().changes_images


@pytest.mark.parametrize("shape", [(60, 90), (24, 32), (5, 7), (1, 1), (2, 1), (1, 300), (400, 2)])
def test_images_of_any_size_get_that_of_the_backbone(shape: tuple[int, int]) -> None:
    for pixels in drawn(augmentation(**ONE_IMAGE), photo(*shape), 30):
        assert (pixels.shape, pixels.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)
        assert pixels.flags.writeable


def test_gray_images_stay_gray_but_for_what_colors_them() -> None:
    gray = np.asarray(photo().convert("L"))
    split = ArraySplit(gray[None], np.zeros(1, np.int64), "gray")
    for pixels in drawn(augmentation(random_resized_crop=(0.1, 1), color_jitter=1), split.open(0), 20):
        assert np.array_equal(pixels[..., 0], pixels[..., 1]) and np.array_equal(pixels[..., 0], pixels[..., 2])
        assert pixels.std() > 0


def test_a_crop_covers_the_share_of_the_area_and_keeps_its_place() -> None:
    """Red counts columns and green counts rows, so that a crop tells where it was taken."""
    rows, columns = np.mgrid[:240, :240].astype(np.uint8)
    image = Image.fromarray(np.stack([columns, rows, np.zeros_like(rows)], axis=2))
    shares, places = [], []
    for pixels in drawn(augmentation("nearest", random_resized_crop=(0.2, 0.5)), image, 150):
        assert (np.diff(pixels[..., 0].astype(int), axis=1) > 0).all()  # upright and not mirrored
        assert (np.diff(pixels[..., 1].astype(int), axis=0) > 0).all()
        width = (int(pixels[0, -1, 0]) - int(pixels[0, 0, 0])) * WIDTH / (WIDTH - 1)
        height = (int(pixels[-1, 0, 1]) - int(pixels[0, 0, 1])) * HEIGHT / (HEIGHT - 1)
        shares.append(width * height / 240**2)
        assert 0.7 < width / height < 1.43  # between 3:4 and 4:3, give or take a pixel
        places.append((pixels[0, 0, 0], pixels[0, 0, 1]))
    assert 0.18 < min(shares) < 0.24
    assert 0.45 < max(shares) < 0.53
    assert len(set(places)) > 140


@pytest.mark.parametrize("interpolation", FILTERS)
def test_a_crop_of_everything_is_the_resized_image(interpolation: str) -> None:
    """No crop of another shape has all of the area, so the whole image is taken."""
    image, augment = photo(60, 60), augmentation(interpolation, random_resized_crop=(1, 1))
    for pixels in drawn(augment, image, 3):
        assert np.array_equal(pixels, preprocessing(interpolation).pixels(image))


def test_a_flip_mirrors_as_often_as_it_should() -> None:
    image = small_photo()
    for probability in (0.0, 0.25, 1.0):
        mirrored = 0
        for pixels in drawn(augmentation(horizontal_flip=probability), image, 300):
            straight = np.array_equal(pixels, np.asarray(image))
            assert straight or np.array_equal(pixels, np.asarray(image)[:, ::-1])
            mirrored += not straight
        assert mirrored == pytest.approx(300 * probability, abs=30)


def test_color_jitter_changes_brightness_up_to_its_strength() -> None:
    gray = Image.fromarray(np.full((HEIGHT, WIDTH, 3), 100, np.uint8))
    values = []
    for pixels in drawn(augmentation(color_jitter=0.4), gray, 200):
        assert len(np.unique(pixels)) == 1
        values.append(int(pixels[0, 0, 0]))
    assert 59 <= min(values) < 66
    assert 134 < max(values) <= 141


@pytest.mark.parametrize("spelled", ["rand-m9-mstd0.5-inc1", "rand-m3-n4-p1.0", "rand"])
def test_randaugment_is_that_of_timm(spelled: str) -> None:
    augment = Augmentation(AugmentationSettings(randaugment=spelled), preprocessing(mean=(0.2, 0.4, 0.6)))
    timm = rand_augment_transform(
        spelled, {"img_mean": (51, 102, 153), "interpolation": Image.Resampling.BICUBIC, "translate_const": 14}
    )
    for number in range(1, 40):
        with seeded(7, number):
            expected = np.asarray(timm(small_photo()))
        assert np.array_equal(augment.apply(small_photo(), (7, number)), expected)


@pytest.mark.parametrize("spelled", ["rand-m10-n1-p1-inc1", "rand-m0-n1-p1"])
def test_an_image_of_which_no_bit_is_kept_is_black(spelled: str) -> None:
    """Posterizing at its strongest, one of fifteen operations; Pillow itself refuses to keep no bit."""
    black = [not pixels.any() for pixels in drawn(augmentation(randaugment=spelled), small_photo(), 150)]
    assert 3 <= sum(black) <= 40


@pytest.mark.parametrize("bits", range(1, 9))
def test_posterizing_is_that_of_pillow(bits: int) -> None:
    found = _posterize(small_photo(), bits, resample=0)
    assert np.array_equal(np.asarray(found), np.asarray(ImageOps.posterize(small_photo(), bits)))


@pytest.mark.parametrize("interpolation", FILTERS)
def test_randaugment_bares_the_mean_color_with_every_filter(interpolation: str) -> None:
    white = Image.fromarray(np.full((HEIGHT, WIDTH, 3), 255, np.uint8))
    augment = Augmentation(
        AugmentationSettings(randaugment="rand-m9-n1-p1-inc1"), preprocessing(interpolation, (0.2, 0.4, 0.6))
    )
    bared = sum((pixels == (51, 102, 153)).all(axis=2).any() for pixels in drawn(augment, white, 60))
    assert bared > 10  # five of the fifteen operations move the image


def test_color_jitter_is_applied_beside_randaugment() -> None:
    augment, image = augmentation(randaugment="rand-p0", color_jitter=0.4), small_photo()
    assert all(not np.array_equal(pixels, np.asarray(image)) for pixels in drawn(augment, image, 10))
