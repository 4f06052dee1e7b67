from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from noah.data.sources.drawn.letters import load_letters
from noah.data.sources.drawn.shapes_count import load_shapes_count
from noah.data.sources.drawn.shots import choose_shots
from noah.data.split import Split


def names(split: Split) -> set[str]:
    return {split.name(index) for index in range(len(split))}


@pytest.mark.parametrize("shots", [1, 2, 4, 8, 16])
def test_so_many_of_each_class_and_nothing_else_changes(shots: int) -> None:
    whole = load_letters()
    few = choose_shots(whole, shots, 0)
    assert np.bincount(few.train.labels).tolist() == [shots] * 26
    assert names(few.train) <= names(whole.train) and len(names(few.train)) == 26 * shots
    assert few.validation is whole.validation and few.load_test is whole.load_test and few.classes == whole.classes
    assert few.full_train is few.train and few.name == f"rendered_letters-{shots}shot"
    assert f"chooses {shots} of the training images" in few.notes[-1]


def test_the_seed_alone_chooses_and_fewer_shots_are_among_more() -> None:
    whole = load_shapes_count()
    chosen = [names(choose_shots(whole, shots, 1).train) for shots in (1, 2, 4, 8, 16)]
    assert all(fewer < more for fewer, more in pairwise(chosen))
    assert chosen[-1] == names(choose_shots(load_shapes_count(), 16, 1).train)
    assert chosen[-1] != names(choose_shots(whole, 16, 2).train)


def test_a_class_with_too_few_images_is_refused() -> None:
    with pytest.raises(ValueError, match="30 training images of class U, not 31"):
        choose_shots(load_letters(), 31, 0)
