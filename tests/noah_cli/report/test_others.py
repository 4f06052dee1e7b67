"""Which published subnet the report offers for a run's dataset."""

from __future__ import annotations

import pytest

from noah.runs.published_subnets import published_names
from noah_cli.report.others import published_name


@pytest.mark.parametrize("name", published_names())
def test_the_subnet_that_was_published_for_a_dataset_is_found(name: str) -> None:
    dataset, _, shots = name.partition(":")
    stored = f"{dataset}-{shots}shot" if shots else dataset
    assert published_name(_description(stored, int(shots) if shots else None)) == name


@pytest.mark.parametrize(
    ("dataset", "shots"),
    [("imagenet-3shot", 3), ("food101-1shot-16shot", 16), ("rendered_letters-16shot", 16), ("photos", None)],
)
def test_for_others_none_was(dataset: str, shots: int | None) -> None:
    assert published_name(_description(dataset, shots)) == ""


def _description(dataset: str, shots: int | None) -> dict[str, object]:
    return {"dataset": dataset, "settings": {"data": {"shots": shots}}}
