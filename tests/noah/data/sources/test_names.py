from __future__ import annotations

import math

import pytest

from noah.data.sources.names import composed, group_name, plain_value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (" a b ", "a b"),
        (" ", None),
        ("", None),
        (None, None),
        (math.nan, None),
        (3.0, 3),
        (3.5, 3.5),
        (0, 0),
        ([1], [1]),
    ],
)
def test_what_a_value_is(value: object, expected: object) -> None:
    assert plain_value(value) == expected
    assert type(plain_value(value)) is type(expected)


def test_names_that_look_the_same_are_the_same() -> None:
    assert composed("cafe\u0301") == "caf\u00e9"
    assert group_name(" Jose\u0301 ") == "Jos\u00e9"
    assert (group_name(7.0), group_name(7), group_name(" "), group_name(None)) == ("7", "7", None, None)
