"""The benchmark of steps from end to end on a tiny backbone, and the figures that it makes of times."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.step_tables import ratio, read_result, rows_of
from tests.commands import PROJECT, process_environment

WAYS = [
    "straightforward fp32",
    "ours fp32",
    "ours bf16",
    "backbone fp32",
    "backbone bf16",
    "ours-from-pixels fp32",
    "ours-from-pixels bf16",
]


def run(out: Path, *options: str) -> str:
    command = [sys.executable, "-m", "benchmarks.steps", "--model=tiny", "--space=paper", f"--out={out}", *options]
    return subprocess.run(
        command, cwd=PROJECT, env=process_environment(), capture_output=True, text=True, check=True, timeout=240
    ).stdout


@pytest.mark.slow
def test_every_way_is_timed_and_what_is_there_is_not_measured_again(tmp_path: Path) -> None:
    printed = run(tmp_path, "--work=training,evaluation", "--rounds=2", "--no-memory")
    contents = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert contents.keys() == {"tiny-paper-training.json", "tiny-paper-evaluation.json"}
    for content in contents.values():
        result = json.loads(content)
        assert [name for name in result["seconds"] if name in WAYS] == list(result["seconds"])
        assert {"straightforward fp32", "ours fp32", "backbone fp32"} <= set(result["seconds"])
        assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in result["seconds"].values())
        assert max(result["agreement"].values()) < 1e-3
        assert len(result["macs_ratio"]) == 2 and min(result["macs_ratio"]) > 0.5
    assert printed.count("ours fp32") == 2
    assert run(tmp_path, "--work=training,evaluation", "--rounds=2", "--no-memory") == printed
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == contents


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only there the memory in use can be told")
def test_the_peak_of_one_way_is_told_by_a_process_of_its_own(tmp_path: Path) -> None:
    printed = run(tmp_path, "--work=training", "--batch-size=4", "--peak-of=straightforward fp32")
    assert 1 < float(printed) < 1000
    assert not list(tmp_path.iterdir())


def test_a_ratio_is_the_median_of_the_rounds_ratios(tmp_path: Path) -> None:
    """A round in which everything took ten times as long changes nothing."""
    result = {
        "model": "m",
        "space": "s",
        "work": "evaluation",
        "macs_ratio": [0.5, 0.8, 0.9],
        "batch_size": 8,
        "rounds": 3,
        "peak_mib": {"ours fp32": 12.4},
        "seconds": {
            "straightforward fp32": [4.0, 40.0, 4.0],
            "ours fp32": [2.0, 20.0, 1.0],
            "backbone fp32": [1.0, 10.0, 1.0],
        },
    }
    assert ratio(result, "ours fp32", "straightforward fp32") == 2
    assert rows_of(result)[1] == ["m", "s", "evaluation", "ours fp32", "4.0", "2.00", "0.50", "1.25", "12"]
    path = tmp_path / "result.json"
    assert read_result(path, 1) is None
    path.write_text(json.dumps(result))
    assert read_result(path, 3) == result
    assert read_result(path, 4) is None
