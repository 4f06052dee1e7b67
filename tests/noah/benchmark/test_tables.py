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
    assert natural.lines[-3][1].startswith("73.1±0.1\n(")
    assert natural.lines[-2] == ("noah's lead", "", "+5.0±0.0")
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


def test_how_far_the_search_is_ahead() -> None:
    counts = {"noah": (980, 500), "lora:8": (970, 480), "bias": (990, None)}
    rows = [
        row(task, method, 0, count)
        for method, of in counts.items()
        for task, count in zip(("digits", "shapes_count"), of, strict=True)
        if count is not None
    ]
    tables = sweep_tables(POCKET, ["digits", "shapes_count"], ["noah", "lora:8", "bias", "linear"], rows)
    assert tables[0].lines[-2] == ("noah's lead", "", "+1.5", "-", "-")
    alone = sweep_tables(POCKET, ["digits"], ["noah", "bias"], rows)
    assert [line[0] for line in alone[0].lines] == ["digits", "noah's lead", "parameters, mean"]
    assert alone[0].lines[1] == ("noah's lead", "", "-1.0")


def test_a_table_for_each_part() -> None:
    counts = {
        **{"digits": 990, "shapes_count": 700, "rendered_digits": 540, "shapes_count_grounds": 650},
        **{"shapes_count-1shot": 200, "shapes_count-2shot": 300, "rendered_letters-1shot": 400},
    }
    rows = [row(task, "bias", seed, count + 10 * seed) for task, count in counts.items() for seed in (0, 1)]
    rows = [found for found in rows if (found.cell.task, found.cell.seed) != ("digits", 1)]
    tasks, methods = found_in(POCKET, rows)
    assert (set(tasks), methods) == (set(counts), ("bias",))
    accuracy, few_shot, shift, seeds = sweep_tables(POCKET, tasks, methods, rows)
    assert [line[0] for line in accuracy.lines] == ["digits", "shapes_count", "mean", "parameters, mean"]
    assert few_shot.title == "few-shot: test accuracy in percent"
    assert few_shot.lines == (
        ("shapes_count-1shot", "20.5±0.7"),
        ("shapes_count-2shot", "30.5±0.7"),
        ("rendered_letters-1shot", "40.5±0.7"),
        ("mean, 1 image a class", "30.5±0.7"),
        ("mean", "30.5±0.7"),
        ("parameters, mean", "0.005 M"),
    )
    assert shift.title == "shift: test accuracy in percent, in brackets the difference to that on the source"
    assert shift.lines == (
        ("digits\n-> rendered_digits", "54.5±0.7\n(-45.0)"),  # of the seed that has both
        ("shapes_count\n-> shapes_count_grounds", "65.5±0.7\n(-5.0)"),
        ("mean", "60.0±0.7\n(-25.0)"),
        ("parameters, mean", "0.005 M"),
    )
    assert seeds.columns == ("task", "seed", "bias")
    assert len(seeds.lines) == len(rows) and ("rendered_digits", "1", "55.00") in seeds.lines
    assert [table.title for table in sweep_tables(POCKET, tasks, methods, rows, ["few-shot"])] == [
        few_shot.title,
        seeds.title,
    ]
    assert r"| digits<br>-\> rendered_digits | 54.5±0.7<br>(-45.0) |" in to_markdown([shift])
    groups = {line["task"]: line["group"] for line in csv.DictReader(io.StringIO(to_csv(POCKET, rows)))}
    assert (groups["digits"], groups["shapes_count-1shot"], groups["rendered_digits"]) == (
        "pocket",
        "few-shot",
        "shift",
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
