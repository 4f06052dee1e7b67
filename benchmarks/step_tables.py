"""Turns the figures of `benchmarks.steps` into ratios and tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

REFERENCE = "straightforward fp32"


def read_result(path: Path, rounds: int) -> dict[str, Any] | None:
    """Read an earlier measurement; None if there is none, or it has fewer rounds."""
    if not path.is_file():
        return None
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result if result["rounds"] >= rounds else None


def ratio(result: dict[str, Any], name: str, other: str) -> float:
    """Compute how many times as fast one way is as another: the median of the rounds' ratios."""
    seconds = result["seconds"]
    return median(theirs / own for own, theirs in zip(seconds[name], seconds[other], strict=True))


def rows_of(result: dict[str, Any]) -> list[list[str]]:
    """Make a row for each way; "by MACs" is its speed relative to the backbone if only arithmetic took time."""
    rows = []
    for name, seconds in result["seconds"].items():
        floor = f"backbone {name.split()[1]}"
        memory = result["peak_mib"].get(name)
        evaluates = name.startswith("ours") and result["work"] == "evaluation"
        rows.append(
            [
                result["model"],
                result["space"],
                result["work"],
                name,
                f"{result['batch_size'] / median(seconds):.1f}",
                f"{ratio(result, name, REFERENCE):.2f}",
                f"{ratio(result, name, floor):.2f}",
                f"{1 / median(result['macs_ratio']):.2f}" if evaluates else "",
                "" if memory is None else f"{memory:,.0f}",
            ]
        )
    return rows


STEPS_HEAD = ["backbone", "space", "work", "way", "images/s", "x straightforward", "x backbone", "by MACs", "peak MiB"]
"""What the cells of `rows_of` are."""


def print_table(results: Sequence[dict[str, Any]]) -> None:
    """Print the table in Markdown, as it is in the documents."""
    for result in results[:1]:
        print(f"\n{result['device']}, {result['threads']} threads, medians of {result['rounds']} rounds\n")
    print_rows(STEPS_HEAD, [row for result in results for row in rows_of(result)])


def operations_rows(
    results: Sequence[dict[str, Any]], published: float | None, measured: float | None
) -> tuple[list[str], list[list[str]]]:
    """Make a head, and a row for each way in the device's best precision, with the operations that it reaches.

    Args:
        results: What was measured.
        published: The card's peak in TFLOP/s, in bfloat16, by its data sheet; None if it is not known.
        measured: The same of a large product of matrices on the card; None if it was not measured.
    """
    rows = []
    for result in results:
        for name, seconds in result["seconds"].items():
            if name.startswith("ours") and name.endswith("bf16"):
                rates = [count / each / 1e12 for count, each in zip(result["operations"], seconds, strict=True)]
                shares = ["" if peak is None else f"{median(rates) / peak:.1%}" for peak in (published, measured)]
                rows.append([result["model"], result["space"], result["work"], name, f"{median(rates):.3g}", *shares])
    return ["backbone", "space", "work", "way", "TFLOP/s", "of the card's peak", "of a large product"], rows


def print_rows(head: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print("\n".join(lines_of(head, rows)), flush=True)


def lines_of(head: list[str], rows: list[list[str]]) -> list[str]:
    """Lay out a table in Markdown."""
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(len(head))]
    return [
        f"| {' | '.join(f'{cell:<{width}}' for cell, width in zip(row, widths, strict=True))} |"
        for row in [head, ["-" * width for width in widths], *rows]
    ]
