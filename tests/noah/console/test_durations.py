from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.console.durations import format_seconds, parse_duration
from noah.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("20m", 1200),
        ("90s", 90),
        ("1h30m", 5400),
        ("2h", 7200),
        ("1h1m1s", 3661),
        ("1.5h", 5400),
        ("0.5m", 30),
        ("0h5m", 300),
        (" 2H ", 7200),
        ("1h30s", 3630),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_what_is_written_out_is_read_back(hours: int, minutes: int, seconds: int) -> None:
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"))
    text = "".join(f"{number}{unit}" for number, unit in parts if number)
    total = 3600 * hours + 60 * minutes + seconds
    if total:
        assert parse_duration(text) == parse_duration(f"{total}s") == total
    else:
        with pytest.raises(UsageError):
            parse_duration(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "90", "h", "0s", "0h0m", "-5m", "5 m", "1m1h", "1h1h", "5min", "2d", "1e3s", "1,5h", ".5h", "5.m", "inf",
     "٣m", "1h30", f"{'9' * 400}h"],
)  # fmt: skip
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_duration(text)
    assert str(raised.value) == f"{text!r} is not a length of time.\nWrite it as 90s, 20m, 2h or 1h30m."


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0 s"),
        (0.43, "0.4 s"),
        (0.97, "1 s"),
        (59.4, "59 s"),
        (59.6, "1 min 0 s"),
        (200, "3 min 20 s"),
        (3599.7, "1 h 0 min"),
        (7500, "2 h 5 min"),
    ],
)
def test_a_time_is_written_in_two_units_at_most(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
