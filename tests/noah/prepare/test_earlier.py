"""Which sides images stay on when a run goes on from another, for test splits that are drawn and that are given."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noah.data.split import Split, concatenate, select
from noah.errors import DataError, RunError
from noah.prepare.context import Materials
from noah.prepare.earlier import EARLIER_FILE, Earlier, describe_head, read_earlier, with_earlier
from noah.runs.folder import Run
from noah.runs.run_images import hash_images, pack_hashes, unpack_hashes
from noah.settings.settings import DataSettings
from tests.conftest import TinySettings
from tests.noah.tiny_run import make_materials


def hashes(split: Split, materials: Materials) -> tuple[str, ...]:
    return hash_images(split, materials.settings.data)


def earlier_of(trained: tuple[str, ...], tested: tuple[str, ...] = ()) -> Earlier:
    return Earlier("a/b", ("x", "y"), pack_hashes(trained), pack_hashes(tested), (True,) * len(tested))


@pytest.fixture
def drawn(tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path) -> Materials:
    """The photographs without splits."""
    return make_materials(
        tiny_settings({"data.folder": str(shutil.copytree(photo_folder / "train", tmp_path / "all"))})
    )


@pytest.mark.parametrize("seed", range(3))
def test_drawn_splits_are_divided_among_new_images_alone(drawn: Materials, seed: int) -> None:
    data = drawn.dataset
    everything = concatenate(data.full_train, data.load_test())
    order = np.random.default_rng(seed).permutation(len(everything))
    trained, tested = (hashes(select(everything, part), drawn) for part in (order[:14], order[14:18]))
    kept, notes = with_earlier(drawn, earlier_of(trained, tested))
    learned, test = (set(hashes(split, drawn)) for split in (kept.full_train, kept.load_test()))
    assert not learned & test
    assert learned | test == set(hashes(everything, drawn))
    assert set(trained) <= learned
    assert set(tested) <= test
    new = set(hashes(everything, drawn)) - set(trained) - set(tested)
    assert test - set(tested) == new & set(hashes(data.load_test(), drawn))
    assert set(hashes(kept.validation, drawn)) <= set(hashes(data.validation, drawn))
    assert notes == [
        "Of 14 images that a/b was trained on, 14 are there and not tested on.",
        "Of 4 images that it was tested on, 4 are there and tested on again.",
    ]


def test_a_given_test_split_loses_what_was_trained_on(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings())
    data = materials.dataset
    test = data.load_test()
    trained = (*hashes(data.train, materials)[1:], *hashes(test, materials)[:2])
    tested = (*hashes(data.train, materials)[:1], *hashes(test, materials)[2:5])
    kept, notes = with_earlier(materials, earlier_of(trained, tested))
    assert hashes(kept.load_test(), materials) == (*hashes(test, materials)[2:], *tested[:1])
    assert hashes(kept.train, materials) == hashes(data.train, materials)[1:]
    assert "1 image that it was tested on" in notes[1]


def test_a_given_test_split_is_not_listed_before(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings())
    unlisted = replace(materials.dataset, load_test=lambda: pytest.fail("the test split was listed"))
    with_earlier(replace(materials, dataset=unlisted), earlier_of(hashes(materials.dataset.train, materials)))


def test_other_images_are_refused(drawn: Materials) -> None:
    with pytest.raises(DataError, match="holds none of the images that a/b was trained on"):
        with_earlier(drawn, earlier_of(("0" * 16,)))


def test_an_image_is_known_wherever_its_folder_is(drawn: Materials, tmp_path: Path) -> None:
    moved = shutil.copytree(str(drawn.settings.data.folder), tmp_path / "deep" / "er")
    settings = drawn.settings.data.model_copy(update={"folder": str(moved)})
    again = make_materials({**drawn.settings.model_dump(mode="json"), "data": settings.model_dump(mode="json")})
    assert hashes(again.dataset.train, again) == hashes(drawn.dataset.train, drawn)
    assert len(set(hashes(drawn.dataset.full_train, drawn))) == len(drawn.dataset.full_train)


def test_files_of_the_same_name_in_different_splits_are_different_images(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings())
    train, validation = (hashes(split, materials) for split in (materials.dataset.train, materials.dataset.validation))
    assert not set(train) & set(validation)


def test_names_of_a_dataset_are_their_own(drawn: Materials) -> None:
    train = drawn.dataset.train
    assert hash_images(train, DataSettings(dataset="digits")) != hashes(train, drawn)


def test_the_head_in_words() -> None:
    told = describe_head(earlier_of(()), ("a", "y"))
    assert told == "1 row kept by the names of their classes; fresh ones for a; gone: x"


@pytest.mark.parametrize("text", ["", "0" * 16, "12ab" * 8])
def test_hashes_are_read_back(text: str) -> None:
    assert pack_hashes(unpack_hashes(text)) == text


@pytest.mark.parametrize("damaged", ["x", {"run": "a"}, {"run": "a", "classes": ["b"], "trained": "12"}])
def test_a_damaged_record_is_refused(tmp_path: Path, damaged: object) -> None:
    run = Run(tmp_path)
    assert read_earlier(run) is None
    run.write_json(damaged, EARLIER_FILE)
    with pytest.raises(RunError, match="is damaged"):
        read_earlier(run)
