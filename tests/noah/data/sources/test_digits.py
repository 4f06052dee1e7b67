from __future__ import annotations

import hashlib

import numpy as np
import pytest

from noah.data.sources.digits import load_digits
from noah.data.split import Split
from noah.errors import UsageError


def names(split: Split) -> set[str]:
    return {split.name(index) for index in range(len(split))}


def test_sizes_and_classes() -> None:
    dataset = load_digits(seed=0, validation_fraction=0.2)
    assert dataset.name == "digits" and dataset.classes == tuple("0123456789")
    assert (len(dataset.train), len(dataset.validation), len(dataset.load_test())) == (800, 200, 797)
    assert np.bincount(dataset.validation.labels).tolist() == [20] * 10
    assert len(names(dataset.full_train) | names(dataset.load_test())) == 1797


def test_the_seed_moves_the_validation_images_but_never_the_test_images() -> None:
    first, second, again = (load_digits(seed=seed, validation_fraction=0.2) for seed in (0, 1, 0))
    assert names(first.load_test()) == names(second.load_test())
    assert names(first.validation) != names(second.validation)
    assert names(first.validation) == names(again.validation)


def test_the_fixed_split_never_changes() -> None:
    test = load_digits(seed=0, validation_fraction=0.2).load_test()
    listed = "\n".join(test.name(index) for index in range(len(test)))
    assert listed.startswith("digits/20\ndigits/21\ndigits/22\n")
    assert hashlib.sha256(listed.encode()).hexdigest()[:16] == "47f1c68063bf71b1"


def test_pixels_are_the_source_scaled_to_255() -> None:
    from sklearn.datasets import load_digits as load_source

    source = load_source().images
    dataset = load_digits(seed=0, validation_fraction=0.2)
    for index in (0, 7):
        image = dataset.train.open(index)
        number = int(dataset.train.name(index).removeprefix("digits/"))
        assert image.mode == "RGB" and image.size == (8, 8)
        assert np.array_equal(np.asarray(image)[..., 1], np.rint(source[number] * 255 / 16))
    assert max(np.asarray(dataset.train.open(index)).max() for index in range(20)) == 255


def test_notes_tell_of_both_splits() -> None:
    notes = load_digits(seed=3, validation_fraction=0.1).notes
    assert "noah's own split, the same for every seed: 1,000 images" in notes[0]
    assert "Seed 3 holds out 100 of the 1,000" in notes[1]


def test_a_senseless_fraction_is_refused() -> None:
    with pytest.raises(UsageError):
        load_digits(seed=0, validation_fraction=1.0)
