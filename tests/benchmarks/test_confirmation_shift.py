"""The table of winners under shift, from stored lines."""

from __future__ import annotations

from pathlib import Path

from benchmarks.confirmation_shift import SEARCHED, table
from noah.files.jsonl import append_line


def test_the_lead_is_that_over_the_fixed_module_on_the_same_images(tmp_path: Path) -> None:
    lines = (
        ("digits", 0, {"digits": (0.95, 0.9), "rendered_digits": (0.62, 0.7)}),
        ("digits", 1, {"digits": (0.9, 0.9), "rendered_digits": (0.65, 0.73)}),
        ("letters", 0, {"letters": (0.9, 0.8), "serif": (0.7, 0.6), "mono": (0.86, 0.76)}),
        ("shapes", 0, {"shapes": (0.5, 0.5), "grounds": (0.41, 0.4)}),
    )
    for source, seed, accuracies in lines:
        for on, pair in accuracies.items():
            for name, accuracy in zip((SEARCHED, "lora:8"), pair, strict=True):
                path = tmp_path / "confirmation_shift" / f"{source}-seed{seed}.jsonl"
                append_line(path, {"name": name, "on": on, "accuracy": accuracy})
    append_line(  # its module is still being trained
        tmp_path / "confirmation_shift" / "letters-seed1.jsonl", {"name": SEARCHED, "on": "serif", "accuracy": 0.1}
    )
    made = table(tmp_path, ["digits", "letters", "shapes", "sprites"], [0, 1]).splitlines()
    assert "| digits | rendered_digits | 1 | 65.0 | 73.0 | -8.0 |" in made
    assert [line for line in made if line.startswith(("| letters", "| sprites"))] == [
        "| letters | letters | 0 | 90.0 | 80.0 | +10.0 |",
        "| letters | serif | 0 | 70.0 | 60.0 | +10.0 |",
        "| letters | mono | 0 | 86.0 | 76.0 | +10.0 |",
    ]
    assert made[made.index("| tested on | lead, mean over seeds |") + 2 :] == [
        "| rendered_digits | -8.0 |",
        "| serif | +10.0 |",
        "| mono | +10.0 |",
        "| grounds | +1.0 |",
        "| mean over sources (95 %: -8.0 to +10.0) | +1.0 |",
        "| mean over targets | +3.2 |",
    ]
    assert "| mean over sources | +1.0 |" in table(tmp_path, ["digits", "letters"], [0, 1])  # of two, no interval
