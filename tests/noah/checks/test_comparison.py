"""Pairing runs with the first: counts, differences and corrected p-values from the predictions alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from noah.checks.comparison import RunFigures, Unfinished, check_runs, pair_with_first
from noah.errors import UsageError
from noah.runs.folder import Run
from noah.runs.kept_predictions import KeptPredictions

PLAIN: dict[str, Any] = {
    "method": "linear",
    "architecture": "test_vit",
    "image_size": (32, 32),
    "num_classes": 2,
    "subnet": None,
    "parameters": 0,
    "relative_macs": 1.0,
    "validation": None,
    "test": None,
}
right_or_wrong = st.integers(1, 60).flatmap(
    lambda images: st.lists(st.lists(st.booleans(), min_size=images, max_size=images), min_size=2, max_size=4)
)


def figures(
    name: str, right: list[bool], *, fingerprint: str = "same", missing: Unfinished | None = None
) -> RunFigures:
    predictions = KeptPredictions(fingerprint, np.ones(len(right), np.int64), np.array(right, np.int64))
    return RunFigures(
        run=Run(Path("runs") / "shapes" / name), predictions=None if missing else predictions, missing=missing, **PLAIN
    )


@given(right_or_wrong)
def test_pairs_count_the_images_that_only_one_gets_right(runs: list[list[bool]]) -> None:
    pairs, elsewhere = pair_with_first([figures(str(number), right) for number, right in enumerate(runs)])
    assert elsewhere == []
    assert [pair.figures.run.folder.name for pair in pairs] == [str(number) for number in range(1, len(runs))]
    first, *others = runs
    uncorrected = []
    for pair, other in zip(pairs, others, strict=True):
        both = list(zip(first, other, strict=True))
        assert (pair.only_first, pair.only_this) == (both.count((True, False)), both.count((False, True)))
        assert pair.difference == pytest.approx(np.mean(other) - np.mean(first))
        assert pair.total == len(first)
        n = pair.only_first + pair.only_this
        uncorrected.append(binomtest(pair.only_this, n).pvalue if n else 1.0)
    assert min(pair.p_value for pair in pairs) == pytest.approx(min(1.0, len(others) * min(uncorrected)))
    assert all(pair.p_value >= p - 1e-12 for pair, p in zip(pairs, uncorrected, strict=True))


def test_only_what_is_paired_counts_for_the_correction() -> None:
    right, wrong = [True] * 8, [False] * 8
    runs = [
        figures("first", right),
        figures("second", wrong),
        figures("third", wrong, fingerprint="other"),
        figures("fourth", wrong, missing=Unfinished("it has not been tested", "noah eval")),
    ]
    pairs, elsewhere = pair_with_first(runs)
    assert [(pair.figures, pair.p_value) for pair in pairs] == [(runs[1], 2 / 256)]
    assert elsewhere == [runs[2]]


def test_nothing_is_paired_with_a_first_run_that_lacks_something() -> None:
    missing = Unfinished("it has not been tested", "noah eval")
    assert pair_with_first([figures("first", [True], missing=missing), figures("second", [True])]) == ([], [])


def test_a_run_is_the_same_however_its_folder_is_spelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "shapes" / "first"
    check_runs([Run(folder), Run(folder.with_name("second"))])
    with pytest.raises(UsageError, match=r"^The run shapes/first is named twice\."):
        check_runs([Run(folder), Run(Path("shapes/first"))])
