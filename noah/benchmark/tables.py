"""The tables of a sweep: each group of tasks, the means next to the published ones, and every seed."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from noah.benchmark.cells import SEARCHED
from noah.benchmark.figures import Figure, accuracies, difference_figure, group_mean, lead_figure, mean_figure
from noah.benchmark.paper import (
    PAPER_NAMES,
    later_methods,
    later_methods_same_protocol,
    paper_accuracy,
    paper_method,
)
from noah.benchmark.rows import Row
from noah.benchmark.suites import VTAB, Part, Suite, Task
from noah.files.foreign_text import csv_text, markdown_text

MISSING = "-"
"""Shown where there is no result yet; a mean is shown only if no task is missing."""


@dataclass(frozen=True, slots=True)
class Table:
    """Lines of text cells; a cell may hold a second line, which is less important.

    Attributes:
        title: The title, which says what the table shows.
        columns: The headings; the first belong to the names of the lines.
        lines: The lines, each with one cell for each column.
        names: How many columns, from the left, name the lines.
    """

    title: str
    columns: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    names: int = 1


def sweep_tables(
    suite: Suite,
    tasks: Sequence[str],
    methods: Sequence[str],
    rows: Sequence[Row],
    parts: Collection[Part] | None = None,
) -> list[Table]:
    """Make all tables of a sweep.

    Args:
        suite: Gives the groups of tasks; VTAB-1k's is shown next to published figures.
        tasks: The tasks to show.
        methods: The methods to show, in this order.
        rows: The results so far, of any tasks and methods.
        parts: The parts whose tables are shown; None means all. The one of every seed has all tasks.
    """
    tables = []
    for group in suite.groups:
        shown = [
            task
            for task in suite.tasks
            if task.group == group and task.name in tasks and (parts is None or task.part in parts)
        ]
        if shown and shown[0].part == "shift":
            shown = [task for task in shown if task.source is not None]
        if shown:
            tables.append(_group_table(suite, shown, methods, rows))
    if suite is VTAB:
        tables.append(_means_table(methods, rows))
    every_seed = _seeds_table([task for task in suite.tasks if task.name in tasks], methods, rows)
    return [*tables, every_seed] if every_seed.lines else tables


def found_in(suite: Suite, rows: Sequence[Row]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The tasks and methods that have rows, in the order of the tables; of VTAB-1k all tasks, because its means are."""
    found = {row.cell.task for row in rows}
    tasks = suite.names if suite is VTAB else tuple(name for name in suite.names if name in found)
    return tasks, suite.in_order({row.cell.method for row in rows})


def _group_table(suite: Suite, tasks: Sequence[Task], methods: Sequence[str], rows: Sequence[Row]) -> Table:
    """Show the tasks of a group, their mean, which for several shots is also that of each, and the parameters.

    Where the search is compared with other methods, a line says how far it is ahead of each.
    """

    def beside(method: str, of: Sequence[Task]) -> str:
        names = [task.name for task in of]
        sources = {name: suite.sources[name] for name in names if name in suite.sources}
        if sources:
            change = difference_figure(rows, method, sources)
            return "" if change is None else f"\n({100 * change.mean:+.1f})"
        paper = paper_method(method) if suite is VTAB else None
        if not paper:
            return ""
        return f"\n({100 * group_mean({task: paper_accuracy(paper, task) for task in names}, [names]):.1f})"

    def mean(of: Sequence[Task]) -> Iterator[str]:
        for method in methods:
            yield _text(mean_figure(rows, method, [[task.name for task in of]])) + beside(method, of)

    lines = [(task.label, *mean([task])) for task in tasks]
    for shots in dict.fromkeys(task.shots for task in tasks if task.shots):
        alike = [task for task in tasks if task.shots == shots]
        if len(alike) > 1:
            lines.append((f"mean, {shots} {'image' if shots == 1 else 'images'} a class", *mean(alike)))
    if len(tasks) > 1:
        lines.append(("mean", *mean(tasks)))
    names = [task.name for task in tasks]
    if SEARCHED in methods and len(methods) > 1:
        lines.append((f"{SEARCHED}'s lead", *(_lead(rows, method, names) for method in methods)))
    lines.append(("parameters, mean", *(_parameters(rows, method, names) for method in methods)))
    brackets = ", the paper's in brackets" if suite is VTAB else ""
    if any(task.source for task in tasks):
        brackets = ", in brackets the difference to that on the source"
    return Table(f"{tasks[0].group}: test accuracy in percent{brackets}", ("task", *methods), tuple(lines))


def _means_table(methods: Sequence[str], rows: Sequence[Row]) -> Table:
    """Show the group means, their mean and the plain mean of the 19 tasks, with the published figures below."""
    groups = [[task.name for task in VTAB.tasks if task.group == group] for group in VTAB.groups]
    everything = [task.name for task in VTAB.tasks]
    kinds = [[group] for group in groups] + [groups, [everything]]
    lines = [(method, *(_text(mean_figure(rows, method, kind)) for kind in kinds)) for method in methods]
    for paper, name in PAPER_NAMES.items():
        of_task = {task: paper_accuracy(paper, task) for task in everything}
        lines.append((f"paper: {name}", *(f"{100 * group_mean(of_task, kind):.1f}" for kind in kinds)))
    for note, published in (("", later_methods()), (" *", later_methods_same_protocol())):
        for name, mean in published:
            lines.append((f"{name}{note}", *[""] * len(groups), f"{100 * mean:.1f}", ""))
    columns = ("method", *VTAB.groups, "group mean", "mean of 19")
    title = "means in percent, beside published ones (*: with the same protocol, last epoch)"
    return Table(title, columns, tuple(lines))


def _seeds_table(tasks: Sequence[Task], methods: Sequence[str], rows: Sequence[Row]) -> Table:
    of = {method: accuracies(rows, method) for method in methods}
    seeds = sorted({seed for found in of.values() for seed in found})

    def value(method: str, seed: int, task: str) -> str:
        accuracy = of[method].get(seed, {}).get(task)
        return MISSING if accuracy is None else f"{100 * accuracy:.2f}"

    lines = [
        (task.name, str(seed), *(value(method, seed, task.name) for method in methods))
        for task in tasks
        for seed in seeds
        if any(task.name in of[method].get(seed, {}) for method in methods)
    ]
    return Table("every seed: test accuracy in percent", ("task", "seed", *methods), tuple(lines), names=2)


def _lead(rows: Sequence[Row], method: str, tasks: Sequence[str]) -> str:
    """How far the search is ahead of a method over all tasks, seed by seed; nothing for the search itself."""
    if method == SEARCHED:
        return ""
    found = lead_figure(rows, SEARCHED, method, tasks)
    return MISSING if found is None else found.signed


def _parameters(rows: Sequence[Row], method: str, tasks: Sequence[str]) -> str:
    """The mean number of trained parameters over the rows so far; the head is not counted."""
    counts = [row.parameters for row in rows if row.cell.method == method and row.cell.task in tasks]
    return f"{sum(counts) / len(counts) / 1e6:.3f} M" if counts else MISSING


def _text(found: Figure | None) -> str:
    return MISSING if found is None else str(found)


def to_markdown(tables: Sequence[Table]) -> str:
    """Write the tables as Markdown, each under its title in bold."""
    parts = []
    for table in tables:
        head = f"| {' | '.join(map(markdown_text, table.columns))} |\n|---{'|---:' * (len(table.columns) - 1)}|"
        body = "\n".join(f"| {' | '.join(map(_markdown_cell, line))} |" for line in table.lines)
        parts.append(f"**{table.title[0].upper()}{table.title[1:]}**\n\n{head}\n{body}\n")
    return "\n".join(parts)


def _markdown_cell(cell: str) -> str:
    return "<br>".join(map(markdown_text, cell.split("\n")))


def to_csv(suite: Suite, rows: Sequence[Row]) -> str:
    """Write one line per row, for other programs."""
    group = {task.name: task.group for task in suite.tasks}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("task", "group", "method", "seed", "accuracy", "correct", "total", "parameters", "seconds", "paper_accuracy")
    )
    for row in sorted(rows, key=lambda row: (suite.names.index(row.cell.task), row.cell.method, row.cell.seed)):
        cell, paper = row.cell, paper_method(row.cell.method) if suite is VTAB else None
        # If a cell was resumed, nobody knows how long the stopped process had worked on it.
        seconds = "" if row.details.get("resumed") else round(sum(row.details.get("seconds", {}).values()), 1)
        counts = (f"{row.accuracy:.6f}", row.correct, row.total, row.parameters, seconds)
        writer.writerow(
            (*map(csv_text, (cell.task, group[cell.task], cell.method)), cell.seed, *counts)
            + ((f"{paper_accuracy(paper, cell.task):.4f}",) if paper else ("",))
        )
    return text.getvalue()
