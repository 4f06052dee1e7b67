"""The verdict on a choice: how far it may be from the fastest, and what counts as noise."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.choose_format import longer_timing


def test_a_choice_may_be_off_by_three_percent_or_by_twice_the_noise() -> None:
    quiet = longer_timing({"one": np.full(10, 1.0), "other": np.full(10, 1.02), "slow": np.full(10, 1.05)})
    assert (quiet.fastest, quiet.noise, quiet.allowed, quiet.rounds) == ("one", 0, 0.03, 10)
    assert quiet.slower("other") == pytest.approx(0.02)
    assert quiet.slower("slow") > quiet.allowed
    noisy = longer_timing({"one": np.array([1.1, 1.0] * 5), "slow": np.full(10, 1.15)})
    assert noisy.noise == pytest.approx(0.1)
    assert noisy.slower("slow") < noisy.allowed == pytest.approx(0.2)
