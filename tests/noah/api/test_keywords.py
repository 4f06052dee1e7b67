"""Keywords become the layers that the options of the commands become."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from noah.api.keywords import own_layers, paths, run_layers, seconds
from noah.errors import UsageError
from noah.settings.layers import Layer
from noah.settings.option_layers import budget_layers, own_data_layers, start_layers, track_layers


def test_they_are_the_layers_of_the_options() -> None:
    options = {"dataset": None, "data": "photos/", "data_root": Path("d/"), "shots": 4}
    backbone = {"backbone": Path("vit.pth"), "backbone_arch": "vit", "backbone_arg": ["reg_tokens=4"], "image_size": 56}
    assert run_layers({**options, **backbone, "seed": 0}) == start_layers(
        None, Path("photos/"), Path("d/"), 4, None, "vit.pth", "vit", ["reg_tokens=4"], 56, None, 0
    )
    texts = ["params=9k", "latency=1.1x"]
    assert run_layers({"budget": texts}) == budget_layers(texts)
    assert run_layers({"budget": texts[0]}) == budget_layers(texts[:1])
    assert run_layers({"classes": "top", "columns": "path=file,label=class"}) == own_data_layers(
        ["path=file,label=class"], "top"
    )
    assert own_layers(track="tensorboard") == track_layers(["tensorboard"])
    assert own_layers(track=["none"]) == track_layers(["none"])


def test_columns_may_be_a_mapping() -> None:
    (layer,) = run_layers({"columns": {"path": "file"}})
    assert layer == Layer(source="--columns", values={"data": {"columns": {"path": "file"}}})


def test_further_settings_come_last_as_they_are() -> None:
    settings = {"search": {"population": 3}, "retrain.epochs": 2}
    *_, last = run_layers({"seed": 1}, settings)
    assert last == Layer(source="--set", values=settings)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(None, []), ("a.yaml", [Path("a.yaml")]), (Path("a"), [Path("a")]), (["a", Path("b")], [Path("a"), Path("b")])],
)
def test_one_path_or_several(value: Any, expected: list[Path]) -> None:
    assert paths(value) == expected


@pytest.mark.parametrize(
    ("limit", "expected"), [(None, None), ("20m", 1200), (90, 90), (1.5, 1.5), (timedelta(minutes=2), 120)]
)
def test_a_time_limit_is_a_text_a_number_or_a_timedelta(limit: Any, expected: float | None) -> None:
    assert seconds(limit) == expected


@pytest.mark.parametrize("limit", [0, -1, float("inf"), float("nan"), timedelta(), "soon"])
def test_no_time_at_all_is_no_time_limit(limit: Any) -> None:
    with pytest.raises(UsageError):
        seconds(limit)
