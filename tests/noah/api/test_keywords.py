"""Keywords of Python: further settings, paths and time limits."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from noah.api.keywords import paths, run_layers, seconds
from noah.errors import UsageError
from noah.settings.layers import Layer


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
