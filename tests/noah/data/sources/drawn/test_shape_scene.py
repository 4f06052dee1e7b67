from __future__ import annotations

from itertools import combinations
from math import hypot, pi

import numpy as np
import pytest

from noah.data.sources.drawn import shape_scene
from noah.data.sources.drawn.shape_scene import CONTRAST, Shape, draw_scene


@pytest.mark.parametrize("corners", [0, 3, 4, 5])
def test_coverage_adds_up_to_the_area_about_the_center(corners: int) -> None:
    shape = Shape(corners, 30.25, 20.75, 12.0, 0.4)
    coverage = shape.coverage()
    assert coverage.shape == (64, 64) and coverage.min() == 0 and coverage.max() == 1
    assert coverage.sum() == pytest.approx(shape.area, rel=0.01)
    rows, columns = np.indices((64, 64)) + 0.5
    assert (coverage * columns).sum() / coverage.sum() == pytest.approx(30.25, abs=0.05)
    assert (coverage * rows).sum() / coverage.sum() == pytest.approx(20.75, abs=0.05)


def test_areas() -> None:
    assert Shape(0, 0, 0, 2, 0).area == pytest.approx(4 * pi)
    assert Shape(4, 0, 0, 2, 0).area == pytest.approx(8)
    assert Shape(3, 0, 0, 2, 0).area == pytest.approx(3 * 3**0.5)


@pytest.mark.parametrize("count", [1, 3, 10])
def test_shapes_keep_apart_and_stay_inside(count: int) -> None:
    for seed in range(20):
        shapes = draw_scene(count, np.random.default_rng(seed)).shapes
        assert len(shapes) == count
        for shape in shapes:
            assert min(shape.x, shape.y) - shape.radius >= 1 and max(shape.x, shape.y) + shape.radius <= 63
        for one, other in combinations(shapes, 2):
            assert hypot(one.x - other.x, one.y - other.y) >= one.radius + other.radius + 2.5


def test_a_generator_in_the_same_state_draws_the_same() -> None:
    first, again, other = (draw_scene(5, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert np.array_equal(first.image, again.image) and first.shapes == again.shapes
    assert not np.array_equal(first.image, other.image)


def test_where_no_random_color_is_far_enough_the_corner_across_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape_scene, "CONTRAST", 1000.0)
    for seed in range(20):
        drawn = draw_scene(4, np.random.default_rng(seed))
        assert len(np.unique(drawn.colors, axis=0)) == 1 and set(np.unique(drawn.colors)) <= {0.0, 255.0}
        distance = np.sqrt(((drawn.ground - drawn.colors[0]) ** 2).sum(axis=-1))
        assert distance.min() > CONTRAST * 1.5


@pytest.mark.parametrize("count", [0, 11])
def test_a_count_that_may_not_fit_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match=f"1 to 10 shapes, not {count}"):
        draw_scene(count, np.random.default_rng(0))
