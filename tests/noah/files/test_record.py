"""A dataclass is written as its fields and read back; what is wrong in a file is told with its place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from noah.benchmark.cells import Cell
from noah.files.record import Record
from noah.nas.certainty import Certainty


@dataclass(frozen=True, slots=True)
class Outer(Record):
    cells: tuple[Cell, ...]
    share: float | None
    names: tuple[str, ...] = ()


def test_fields_are_written_in_their_order_and_read_back() -> None:
    value = Outer((Cell("digits", "lora:8", 0),), 0.1, ("a", "b"))
    written = value.to_json()
    assert list(written) == ["cells", "share", "names"]
    assert written == {
        "cells": [{"task": "digits", "method": "lora:8", "seed": 0}],
        "share": 0.1,
        "names": ["a", "b"],
    }
    assert Outer.from_json(written) == value
    assert Outer.from_json({"cells": [], "share": None, "more": 1}) == Outer((), None)
    assert not hasattr(value, "__dict__")


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ({"cells": [{"task": "digits", "method": None, "seed": 0}], "share": 1.0}, r"cells\.0\.method: .*string"),
        ({"cells": [{"task": "digits", "method": "noah", "seed": 0}]}, "share: .*required"),
        ({"cells": [], "share": "many"}, "share: .*number"),
        ([], "dictionary"),
        (None, "dictionary"),
    ],
)
def test_a_damaged_value_is_told_with_its_place_in_one_line(value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        Outer.from_json(value)
    assert type(caught.value) is ValueError
    assert "\n" not in str(caught.value)


def test_nesting_without_end_is_no_record() -> None:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    with pytest.raises(ValueError, match="wins"):
        Certainty.from_json({"wins": nested, "images": 1, "resamples": 1, "lead": None, "lead_error": None})
