"""Makes the tables of docs/search.md from the files that `benchmarks.search` and `benchmarks.ranking` write.

    python -m benchmarks.search_tables

writes docs/search/tables.md and puts it between the marks in docs/search.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

from noah.files.atomic import write_text

FOLDER = Path(__file__).parent.parent / "docs" / "search"
TOP = 10
"""Number of best candidates that have to be the same."""
MARKS = re.compile(r"(<!-- tables -->\n).*(<!-- end of tables -->)", flags=re.DOTALL)


def main() -> None:
    """Write the tables and put them into the document."""
    tables = make_tables(FOLDER)
    write_text(FOLDER / "tables.md", tables)
    document = FOLDER.with_suffix(".md")
    text = document.read_text(encoding="utf-8")
    write_text(document, MARKS.sub(lambda match: f"{match[1]}\n{tables}\n{match[2]}", text))


def make_tables(folder: Path) -> str:
    """Make all tables in Markdown, for the datasets and seeds that were measured."""
    read = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    searches = [row for row in read if "exact" in row]
    rankings = [row for row in read if "ways" in row]
    return "\n".join([*_racing(searches), "", *_samplers(searches), "", *_rankings(rankings)]).strip() + "\n"


def _racing(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "| dataset | seed | 10th best | exact: images | same 10, in order | foreseen | paired: images | same 10 |",
        "|---|---:|---:|---:|---|---:|---:|---|",
    ]
    for row in rows:
        exact, paired = row["exact"], row["paired"]
        lines.append(
            f"| {row['dataset']} | {row['seed']} | {row['accuracy_of_last_of_top']:.1%} "
            f"| {exact['share_of_images']:.1%} | {_yes(exact['same_top_in_order'])} | {_foreseen(row):.1%} "
            f"| {paired['share_of_images']:.1%} | {_yes(paired['same_top_in_order'])} |"
        )
    return lines


def _foreseen(row: dict[str, Any]) -> float:
    """Compute the share of images that would prove the same top ten if every answer were known beforehand.

    The best are shown every image; each of the others is shown one more image that it gets wrong than the tenth best
    gets wrong.
    """
    images, candidates = row["validation"], row["candidates"]
    wrong = images - round(row["accuracy_of_last_of_top"] * images)
    return float((TOP * images + (candidates - TOP) * min(wrong + 1, images)) / (candidates * images))


def _samplers(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "| dataset | seed | images | published: candidates | best | evolution: candidates | best |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        theirs, ours = row["published"], row["evolution"]
        lines.append(
            f"| {row['dataset']} | {row['seed']} | {theirs['images']:,} | {theirs['candidates']} "
            f"| {_accuracy(theirs):.1%} | {ours['candidates']} | {_accuracy(ours):.1%} |"
        )
    for name in dict.fromkeys(row["dataset"] for row in rows):
        of_set = [row for row in rows if row["dataset"] == name]
        theirs, ours = (mean(_accuracy(row[sampler]) for row in of_set) for sampler in ("published", "evolution"))
        lines.append(f"| **{name}** | mean of {len(of_set)} | | | **{theirs:.2%}** | | **{ours:.2%}** |")
    return lines


def _rankings(rows: Sequence[dict[str, Any]]) -> list[str]:
    if not rows:
        return []
    lines = [
        "| dataset | seed | sampling | epochs | rate | tau of accuracy | tau of cross-entropy | mean accuracy |",
        "|---|---:|---|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        lines += [
            f"| {row['dataset']} | {row['seed']} | {way['sampling']} | {way['epochs']} | {way['learning_rate']:g} "
            f"| {way['tau_of_accuracy']:.2f} | {way['tau_of_cross_entropy']:.2f} | {way['mean_accuracy']:.1%} |"
            for way in row["ways"]
        ]
    return lines


def _accuracy(found: dict[str, Any]) -> float:
    return float(found["correct"] / found["total"])


def _yes(value: bool) -> str:
    return "yes" if value else "no"


if __name__ == "__main__":
    main()
