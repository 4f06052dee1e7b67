"""The table of several trainings under a shift, from stored lines."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.shift_spread import NETWORKS, table
from noah.files.jsonl import append_line


def test_the_lead_is_told_with_the_error_of_both_means(tmp_path: Path) -> None:
    made = {"auto": (0.6, 0.7), "auto from labels": (0.55, 0.55), "lora:8": (0.8, 0.5)}
    for number in (1, 2):
        for name in NETWORKS:
            line = {"name": name, "training": number, "accuracies": {"digits": 0.9, "noise": made[name][number - 1]}}
            append_line(tmp_path / "shift_spread" / "digits-seed3.jsonl", line)
    line = {"name": "lora:8", "training": 1, "accuracies": {"letters": 0.9}}  # the others are still to be trained
    append_line(tmp_path / "shift_spread" / "letters-seed3.jsonl", line)
    lines = table(tmp_path, ["digits", "letters"], [3]).splitlines()
    assert len(lines) == 4
    assert "| digits | digits | 3 |" in lines[2] and lines[2].endswith("| +0.0 ± 0.0 |")
    error = ((10**2 / 2 + 30**2 / 2) / 2) ** 0.5  # variances with n - 1, of two trainings each
    assert error == pytest.approx(15.8, abs=0.05)
    told = "65.0 (60.0, 70.0) | 55.0 (55.0, 55.0) | 65.0 (80.0, 50.0) | +0.0 ± 15.8"
    assert lines[3] == f"| digits | noise | 3 | {told} |"
