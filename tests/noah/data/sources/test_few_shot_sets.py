from __future__ import annotations

from pathlib import Path

import pytest

from noah.data.sources.few_shot_sets import FEW_SHOT_SETS, IMAGENET, find_few_shot_folder, find_few_shot_set


def test_the_table_is_that_of_the_paper() -> None:
    assert {known.name: known.classes for known in FEW_SHOT_SETS} == {
        "fgvc_aircraft": 100,
        "food101": 101,
        "oxford_flowers102": 102,
        "oxford_pets": 37,
        "stanford_cars": 196,
        "imagenet": 1000,
    }


def test_no_name_means_two_sets() -> None:
    names = [name for known in FEW_SHOT_SETS for name in known.names]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("typed", "name"),
    [("food-101", "food101"), ("Oxford_Pet", "oxford_pets"), ("fgvc-aircraft", "fgvc_aircraft"), ("x", None)],
)
def test_sets_are_found_by_name_alias_and_spelling(typed: str, name: str | None) -> None:
    known = find_few_shot_set(typed)
    assert (known.name if known else None) == name


@pytest.mark.parametrize("place", ["fgvc_aircraft", "fgvc-aircraft", "few-shot/fgvc-aircraft", "few_shot/aircraft"])
def test_folders_are_found_at_the_usual_places(tmp_path: Path, place: str) -> None:
    known = find_few_shot_set("fgvc_aircraft")
    assert known
    (tmp_path / place).mkdir(parents=True)
    assert find_few_shot_folder(known, tmp_path) is None  # it could be the folder of a VTAB task
    (tmp_path / place / "annotations").mkdir()
    assert find_few_shot_folder(known, tmp_path) == tmp_path / place
    assert find_few_shot_folder(IMAGENET, tmp_path) is None
