"""How limits are written and read."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.space.budget_text import (
    Multiple,
    read_latency,
    read_macs,
    read_parameters,
    spell_count,
    spell_seconds,
    write_limit,
)


@pytest.mark.parametrize(
    ("text", "macs"),
    [
        ("4.5G", 4_500_000_000),
        ("900m", 900_000_000),
        (" 10k ", 10_000),
        ("123", 123),
        (5_000, 5_000),
        ("1.1x", Multiple(1.1)),
        (".5x", Multiple(0.5)),
        ("2.x", Multiple(2.0)),
    ],
)
def test_macs(text: str | int, macs: int | Multiple) -> None:
    assert read_macs(text) == macs


@pytest.mark.parametrize(
    "text",
    [
        *("", "x", "0x", "0.0x", "-1x", "1.1X", "1,1x", "1e9", "4.5 G", "4.5T", "0", "0.0001k", "٣", "nan", "infx"),
        "9" * 400,
        "9" * 400 + "x",
        0,
        -5,
    ],
)
def test_what_is_no_number_of_macs(text: str | int) -> None:
    assert read_macs(text) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("12ms", 0.012), ("0.1s", 0.1), ("800us", 0.0008), (" 1.5ms ", 0.0015), ("1.1x", Multiple(1.1))],
)
def test_latency(text: str, seconds: float | Multiple) -> None:
    assert read_latency(text) == (pytest.approx(seconds) if isinstance(seconds, float) else seconds)


@pytest.mark.parametrize("text", ["", "12", "ms", "0ms", "-1ms", "12 ms", "12MS", "1m", "1e-3s", "9" * 400 + "s"])
def test_what_is_no_latency(text: str) -> None:
    assert read_latency(text) is None


def test_parameters_have_neither_multiples_nor_billions() -> None:
    assert read_parameters("0.64M") == 640_000
    assert read_parameters("1G") is read_parameters("1.1x") is read_parameters("0") is None


@pytest.mark.parametrize(
    ("count", "spelled"),
    [(999, "999"), (999_499, "999 k"), (999_500, "1 M"), (999_999, "1 M"), (999_600_000, "1 G"), (1000, "1 k"),
     (640_000, "640 k"), (5_472_000_000, "5.47 G"), (17_600_000_000, "17.6 G"),
     (123_000_000, "123 M"), (1_700_000_000_000, "1700 G")],
)  # fmt: skip
def test_spelled_counts(count: int, spelled: str) -> None:
    assert spell_count(count) == spelled


@pytest.mark.parametrize(
    ("seconds", "spelled"),
    [(0.012, "12 ms"), (0.0008, "800 us"), (1.5, "1.5 s"), (0.01234, "12.3 ms"), (2e-8, "0.02 us"), (0.99999, "1 s")],
)
def test_spelled_times(seconds: float, spelled: str) -> None:
    assert spell_seconds(seconds) == spelled


@given(st.floats(1e-6, 1e3), st.floats(1, 1e15))
def test_a_limit_that_is_advised_is_read_as_no_less(seconds: float, count: float) -> None:
    _, _, text = write_limit("latency", seconds).partition("=")
    read = read_latency(text)
    assert isinstance(read, float)
    assert seconds * (1 - 1e-12) <= read <= seconds + 1.1e-6
    assert read_macs(write_limit("macs", count).removeprefix("macs=")) == math.ceil(count)
    assert read_parameters(write_limit("parameters", count).removeprefix("params=")) == math.ceil(count)
