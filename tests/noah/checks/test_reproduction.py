"""When a figure counts as reproduced, and what is said of it."""

from __future__ import annotations

import pytest

from noah.checks.reproduction import check_agreement
from noah.errors import RunError
from noah.evaluation.accuracy import Score

STORED = Score(900, 1000, 0.5)


def test_the_same_figures_are_the_same_exactly() -> None:
    assert check_agreement(STORED, Score(900, 1000, 0.5), 0, {"fp32"}) == "900 of 1,000 right again, exactly"


@pytest.mark.parametrize(
    ("found", "changed", "precisions", "agrees"),
    [
        (Score(900, 1000, 0.5 * (1 + 5e-5)), 0, {"fp32"}, True),
        (Score(899, 1000, 0.5), 1, {"fp32"}, True),
        (Score(900, 1000, 0.5), 2, {"fp32"}, False),  # one became right, another wrong
        (Score(900, 1000, 0.5 * (1 + 5e-4)), 0, {"fp32"}, False),
        (Score(890, 1000, 0.505), 10, {"fp32", "bf16"}, True),
        (Score(889, 1000, 0.505), 11, {"bf16"}, False),
        (Score(900, 1000, 0.52), 0, {"bf16"}, False),
        (Score(900, 1001, 0.5), 0, {"fp32"}, False),
        (Score(900, 1000, float("nan")), 0, {"fp32"}, False),
    ],
)
def test_rounding_is_allowed_and_no_more(found: Score, changed: int, precisions: set[str], agrees: bool) -> None:
    if agrees:
        assert check_agreement(STORED, found, changed, precisions).startswith(
            "900 of 1,000 right again but for rounding: "
        )
    else:
        with pytest.raises(RunError, match=r"It is not reproduced: stored 900 of 1,000 right, found"):
            check_agreement(STORED, found, changed, precisions)


def test_of_few_images_none_may_change_in_float32() -> None:
    with pytest.raises(RunError):
        check_agreement(Score(17, 18, 0.5), Score(18, 18, 0.5), 1, {"fp32"})
