from __future__ import annotations

import numpy as np
import pytest

from noah.data.sources.drawn.grounds import Ground, any_of, checks, flat, gradient, soft_noise, stripes

PATTERNS = (gradient, soft_noise, checks, stripes)


@pytest.mark.parametrize("ground", (flat, *PATTERNS))
def test_colors_stay_close_and_depend_on_nothing_but_the_generator(ground: Ground) -> None:
    drawn = [ground(np.random.default_rng(seed), 64) for seed in range(100)]
    for seed, pixels in enumerate(drawn):
        assert pixels.shape == (64, 64, 3) and pixels.dtype == np.float64
        assert pixels.min() >= 15 and pixels.max() <= 240 and np.ptp(pixels, axis=(0, 1)).max() <= 90 + 1e-9
        assert np.array_equal(pixels, ground(np.random.default_rng(seed), 64))
    assert len({pixels.tobytes() for pixels in drawn}) == 100


@pytest.mark.parametrize("ground", PATTERNS)
def test_a_pattern_can_be_seen(ground: Ground) -> None:
    for seed in range(100):
        assert np.ptp(ground(np.random.default_rng(seed), 64), axis=(0, 1)).max() >= 20
    assert np.ptp(flat(np.random.default_rng(0), 64), axis=(0, 1)).max() == 0


def test_each_of_several_comes_up() -> None:
    kinds = [float(any_of((_one, _two), np.random.default_rng(seed), 2).max()) for seed in range(100)]
    assert 30 < kinds.count(1) < 70 and kinds.count(1) + kinds.count(2) == 100


def _one(generator: np.random.Generator, size: int) -> np.ndarray:
    return np.ones((size, size, 3))


def _two(generator: np.random.Generator, size: int) -> np.ndarray:
    return np.full((size, size, 3), 2.0)
