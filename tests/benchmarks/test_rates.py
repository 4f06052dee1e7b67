"""What finals with one and with several learning rates choose, from stored lines."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from benchmarks.evidence import Evidence
from benchmarks.pool import Entry
from benchmarks.rates import FINALISTS, RATES, table
from noah.files.jsonl import append_line
from noah.space.subnet import Subnet


def test_each_final_chooses_by_the_evidence_and_is_judged_by_the_test(tmp_path: Path) -> None:
    best_seen = {"lora:6+bias, rate x 1": 0.4, "adapter:16, rate x 2": 0.3}
    right = {"lora:6+bias, rate x 1": 60, "adapter:16, rate x 2": 55, "lora:8, rate x 0.5": 70}
    for name in (f"{finalist}, rate x {rate:g}" for finalist in FINALISTS for rate in RATES):
        correct = np.arange(100) < right.get(name, 40)
        entry = Entry(name, 0, Subnet.uniform(2, lora=1), 1, 1, "fp32", correct)
        append_line(tmp_path / "rates" / "digits-seed0.jsonl", entry.to_json())
        seen = Evidence(name, 15, 0.5, 1.0, best_seen.get(name, 0.5))
        append_line(tmp_path / "rates" / "evidence-digits-seed0.jsonl", asdict(seen))
    row = "| lora:6+bias, rate x 1 | 60.0 | adapter:16, rate x 2 | 55.0 | lora:8, rate x 0.5 | 70.0 |"
    assert table(tmp_path, ["digits", "shapes_count"], [0, 1]).splitlines()[2:] == [f"| digits | 0 {row}"]
