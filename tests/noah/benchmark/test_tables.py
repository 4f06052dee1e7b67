"""The tables: means only of whole groups, the paper's figures beside ours, one line a row for other programs."""

from __future__ import annotations

import csv
import io

from noah.benchmark.rows import Row
from noah.benchmark.suites import POCKET, VTAB
from noah.benchmark.tables import found_in, sweep_tables, to_csv, to_markdown
from tests.noah.benchmark.made import row

TASKS = [task.name for task in VTAB.tasks]
METHODS = ["noah", "lora:8"]


def whole_sweep() -> list[Row]:
    return [
        row(task, method, seed, 700 + 10 * number + seed - 50 * (method == "lora:8"))
        for number, task in enumerate(TASKS)
        for method in METHODS
        for seed in (0, 1, 2)
    ]


def test_vtab_beside_the_paper() -> None:
    tables = sweep_tables(VTAB, TASKS, METHODS, whole_sweep())
    assert [table.title.split(":")[0] for table in tables] == [
        "natural",
        "specialized",
        "structured",
        "means in percent, beside published ones (*",
        "every seed",
    ]
    natural = tables[0]
    assert natural.columns == ("task", *METHODS)
    assert natural.lines[0] == ("caltech101", "70.1±0.1\n(92.7)", "65.1±0.1\n(91.4)")
    assert natural.lines[-2][1].startswith("73.1±0.1\n(")
    assert natural.lines[-1] == ("parameters, mean", "0.005 M", "0.005 M")
    means = {line[0]: line[1:] for line in tables[3].lines}
    assert means["noah"] == ("73.1±0.1", "78.6±0.1", "84.6±0.1", "78.8±0.1", "79.1±0.1")
    assert means["paper: NOAH"][3] == "75.5"
    assert means["HST"] == ("", "", "", "78.1", "")
    assert means["LoRA *"] == ("", "", "", "75.2", "")


def test_a_mean_is_missing_while_a_task_is() -> None:
    rows = [found for found in whole_sweep() if found.cell.task != "dmlab"]
    tables = sweep_tables(VTAB, TASKS, METHODS, rows)
    structured = {line[0]: line[1:] for line in tables[2].lines}
    assert structured["dmlab"][0].splitlines()[0] == structured["mean"][0].splitlines()[0] == "-"
    assert {line[0]: line[1:] for line in tables[3].lines}["noah"] == ("73.1±0.1", "78.6±0.1", "-", "-", "-")


def test_pocket_has_no_paper_and_shows_every_seed() -> None:
    rows = [row("digits", "noah", 0, 980), row("digits", "noah", 1, 970), row("shapes_count", "noah", 0, 500)]
    tables = sweep_tables(POCKET, ["digits", "shapes_count"], ["noah"], rows)
    assert tables[0].lines == (
        ("digits", "97.5±0.7"),
        ("shapes_count", "50.0"),
        ("mean", "74.0"),
        ("parameters, mean", "0.005 M"),
    )
    assert tables[1].columns == ("task", "seed", "noah")
    assert tables[1].lines == (("digits", "0", "98.00"), ("digits", "1", "97.00"), ("shapes_count", "0", "50.00"))
    assert to_markdown(tables).startswith(
        "**Pocket: test accuracy in percent**\n\n| task | noah |\n|---|---:|\n| digits | 97.5±0.7 |\n"
    )


def test_without_results_there_is_no_table_of_seeds() -> None:
    (only,) = sweep_tables(POCKET, ["digits"], ["noah"], [])
    assert only.lines[0] == ("digits", "-")


def test_markdown_keeps_second_lines() -> None:
    text = to_markdown(sweep_tables(VTAB, TASKS, METHODS, whole_sweep()))
    assert "| caltech101 | 70.1±0.1<br>(92.7) |" in text
    assert all(line.count("|") >= 3 for line in text.splitlines() if line.startswith("|"))


def test_csv() -> None:
    rows = [row("shapes_count", "noah", 0, 500), row("digits", "noah", 1, 970)]
    lines = list(csv.DictReader(io.StringIO(to_csv(POCKET, rows))))
    assert [line["task"] for line in lines] == ["digits", "shapes_count"]
    assert lines[0] == {
        "task": "digits",
        "group": "pocket",
        "method": "noah",
        "seed": "1",
        "accuracy": "0.970000",
        "correct": "970",
        "total": "1000",
        "parameters": "5000",
        "seconds": "3.0",
        "paper_accuracy": "",
    }
    assert next(csv.DictReader(io.StringIO(to_csv(VTAB, [row("cifar", "lora:8", 0, 1)]))))["paper_accuracy"] == "0.6710"


def test_a_method_of_somebody_else_does_nothing_in_a_table() -> None:
    rows = [row("digits", "=1+1|<b>", 0, 0.5)]
    (line,) = csv.DictReader(io.StringIO(to_csv(POCKET, rows)))
    assert line["method"] == "'=1+1|<b>"
    assert r"| task | =1+1\|\<b\> |" in to_markdown(sweep_tables(POCKET, *found_in(POCKET, rows), rows))
