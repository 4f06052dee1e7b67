from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from string import ascii_uppercase

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression

from noah.data.dataset import Dataset
from noah.data.sources.drawn import faces
from noah.data.sources.drawn.faces import FACES, SANS, glyph
from noah.data.sources.drawn.letters import (
    CONTRAST,
    DRAWING,
    LIGHTNESS,
    MARGIN,
    SIZE,
    draw_letter,
    load_letters,
    load_sans_letters,
    place_glyph,
)
from noah.errors import MissingPackageError

LOADERS = (load_letters, load_sans_letters)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    return [draw_letter(FACES, number) for number in range(2000)]


@pytest.mark.parametrize("load", LOADERS)
def test_every_split_is_balanced(load: Callable[[], Dataset]) -> None:
    dataset = load()
    assert dataset.classes == tuple(ascii_uppercase)
    for split, size in ((dataset.train, 800), (dataset.validation, 200), (dataset.load_test(), 1000)):
        counts = np.bincount(split.labels, minlength=26)
        assert len(split) == counts.sum() == size and np.ptp(counts) == 1
    assert "1,000 to test on" in dataset.notes[-1]


def test_names_and_notes() -> None:
    every, sans = (load() for load in LOADERS)
    assert (every.name, sans.name) == ("rendered_letters", "rendered_letters_sans")
    assert "in 20 faces" in every.notes[0] and "in 4 faces" in sans.notes[0]
    assert every.train.name(0) == f"rendered_letters/v{DRAWING}-0"


def test_the_splits_are_apart_in_numbers_and_in_pixels(images: list[np.ndarray]) -> None:
    dataset = load_letters()
    parts = (dataset.train, dataset.validation, dataset.load_test())
    assert len({part.name(index) for part in parts for index in range(len(part))}) == 2000
    assert len({pixels.tobytes() for pixels in images}) == 2000


def test_an_image_depends_on_nothing_but_its_number(images: list[np.ndarray]) -> None:
    glyph.cache_clear()
    split = load_letters().validation
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(split.open, reversed(range(200))))
    for index, image in zip(reversed(range(200)), opened, strict=True):
        assert image.mode == "RGB" and image.size == (SIZE, SIZE)
        assert np.array_equal(np.asarray(image), images[800 + index])


def test_another_face_changes_nothing_else() -> None:
    """The corners of an image, where no letter reaches, are the same in all faces."""
    for number in range(26):
        one, other = draw_letter(SANS, number), draw_letter(("cmr10",), number)
        border = np.ones((SIZE, SIZE), bool)
        border[MARGIN:-MARGIN, MARGIN:-MARGIN] = False
        assert np.array_equal(one[border], other[border])
        assert not np.array_equal(one, other)


def test_a_letter_is_whole_and_differs_from_its_ground(images: list[np.ndarray]) -> None:
    """At the frame, there is pure ground."""
    for number in range(260):
        lightness = images[number] @ LIGHTNESS
        border = np.concatenate([lightness[0], lightness[-1], lightness[:, 0], lightness[:, -1]])
        middle = (border.min() + border.max()) / 2
        strongest = np.abs(lightness - middle).max()
        assert strongest >= CONTRAST - 2 and np.ptp(border) <= 92


def test_a_glyph_fits_wherever_it_is_placed() -> None:
    drawn = glyph("DejaVuSansMono-BoldOblique", "W")
    for x, y in ((0, 0), (1, 1), (0.5, 0.5), (0, 1)):
        for height in (20.0, 46.0, 500.0):
            covered = place_glyph(drawn, 64, height=height, slant=0.25, degrees=10, at=(x, y), margin=2)
            assert covered.shape == (64, 64) and covered.min() == 0 and covered.max() == 1
            assert not covered[:2].any() and not covered[-2:].any()
            assert not covered[:, :2].any() and not covered[:, -2:].any()


def test_slant_and_turn_go_where_they_say() -> None:
    bar = Image.new("L", (20, 100), 255)
    plain = {"height": 40.0, "slant": 0.0, "degrees": 0.0, "at": (0.5, 0.5), "margin": 2.0}

    def thirds(**change: float) -> tuple[float, float]:
        """Centers of the upper and the lower third, from left to right."""
        covered = place_glyph(bar, 64, **{**plain, **change})  # type: ignore[arg-type]
        columns = np.arange(64) + 0.5
        return tuple((part.sum(axis=0) @ columns) / part.sum() for part in (covered[14:24], covered[40:50]))

    upper, lower = thirds()
    assert abs(upper - 32) < 0.1 and abs(lower - 32) < 0.1
    upper, lower = thirds(slant=0.2)
    assert upper > 33 and lower < 31
    upper, lower = thirds(degrees=8)
    assert upper > 33 and lower < 31
    assert place_glyph(bar, 64, **plain).sum() == pytest.approx(8 * 40, rel=0.05)  # type: ignore[arg-type]


def test_letters_can_be_told_apart_by_a_simple_classifier() -> None:
    """Letters of one face, cut out of their ground by contrast: far better than 1 in 26."""
    pixels = np.stack([_cut_out(draw_letter(("DejaVuSans",), number)) for number in range(1200)])
    labels = np.arange(1200) % 26
    classifier = LogisticRegression(max_iter=200).fit(pixels[:900], labels[:900])
    assert classifier.score(pixels[900:], labels[900:]) > 0.7


def _cut_out(image: np.ndarray) -> np.ndarray:
    """The letter at 12 x 12: where lightness is farthest from that of the ground at the frame."""
    lightness = image @ LIGHTNESS
    border = np.concatenate([lightness[0], lightness[-1], lightness[:, 0], lightness[:, -1]])
    distance = np.maximum(border.min() - lightness, lightness - border.max())
    inside = distance > distance.max() * 0.6
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    box = inside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return np.asarray(Image.fromarray(box).convert("L").resize((12, 12), Image.Resampling.BOX)).ravel() / 255


@pytest.mark.parametrize("load", LOADERS)
def test_without_matplotlib_it_says_what_to_type(load: Callable[[], Dataset], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError, match="fonts of matplotlib, which is not installed"):
        load()


def test_a_number_below_zero_is_refused() -> None:
    with pytest.raises(ValueError):
        draw_letter(FACES, -1)
