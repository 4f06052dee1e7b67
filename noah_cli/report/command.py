"""`noah report`: writes everything about one run to one page."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from noah.files.latest import DEFAULT_RUNS
from noah_cli.options.options import RunArgument, RunsOption, SameRunOption, named_run
from noah_cli.terminal import console

if TYPE_CHECKING:  # they import torch and matplotlib, which take seconds
    from noah.nas.gene_importance import GeneImportance
    from noah.runs.folder import Run
    from noah_cli.report.charts.drawing import Drawing
    from noah_cli.report.facts import Facts
    from noah_cli.report.reading import Missing

REPORT_FILE, FIGURES_FOLDER = "report.html", "report"


def report(
    context: typer.Context,
    run: RunArgument = None,
    same_run: SameRunOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Write one HTML page about a run, at any stage, and its figures as SVG and PNG.

    Other runs on the same dataset are read for comparison. No image is opened, and the page needs no other files.
    """
    from noah.runs.folder import open_run
    from noah_cli.report.facts import gather_facts
    from noah_cli.report.figures import draw_figures
    from noah_cli.report.page import render_page

    listener = console.open_listener(context)
    current = open_run(runs, named_run(run, same_run))
    listener.say(f"run       {current.folder}")
    facts = gather_facts(current, runs)
    importance = _measure_importance(listener, facts)
    drawings = draw_figures(facts, importance)
    page = render_page(facts, drawings, importance)
    _write(current, page, drawings)
    path = current.path(REPORT_FILE)
    missing = [stage.name for stage in facts.stages if stage.state != "done"]
    if missing:
        listener.say(f"not yet   {', '.join(missing)}; the page says which commands to type")
    listener.say(f"figures   {len(drawings)} as SVG and PNG in {current.path(FIGURES_FOLDER)}")
    listener.say(f"written   {path}, {len(page.encode()) / 1000:,.0f} kB; open it in a browser")
    if facts.next_command:
        listener.say_next(facts.next_command)
    listener.result({"run": str(current.folder), "report": str(path), "figures": sorted(drawings), "not_yet": missing})


def _measure_importance(listener: console.ConsoleListener, facts: Facts) -> GeneImportance | Missing:
    """Measure the importance of each gene, or say why that is not possible."""
    from noah.nas.gene_importance import FEWEST, REPEATS, gene_importance
    from noah_cli.report.reading import Missing

    searched = facts.searched
    if isinstance(searched, Missing):
        return Missing("The importance of widths is measured on the candidates of a search.", searched.commands)
    count = len(searched.candidates)
    if count < FEWEST:
        commands = () if searched.winner else (facts.next_command,)
        return Missing(
            f"{count} candidates are too few to tell what matters from chance; at least {FEWEST} are needed.", commands
        )
    with listener.bar("measuring which widths matter", REPEATS, "repetitions") as bar:
        found = gene_importance(searched.candidates, searched.images, facts.seed, bar)
    if found is None:
        return Missing("All candidates are equally accurate, so nothing can be said about their widths.")
    return found


def _write(run: Run, page: str, drawings: dict[str, Drawing]) -> None:
    """Write the figures and settings, then the page; figures that only an earlier report had are removed."""
    from noah.files.atomic import atomic_file, write_text
    from noah.files.bounded import dump_yaml
    from noah_cli.report.repeat import SETTINGS_FILE

    folder = run.path(FIGURES_FOLDER)
    folder.mkdir(exist_ok=True)
    for old in (*folder.glob("*.svg"), *folder.glob("*.png")):
        if old.stem not in drawings:
            old.unlink()
    for name, drawing in drawings.items():
        write_text(folder / f"{name}.svg", drawing.svg)
        with atomic_file(folder / f"{name}.png") as temporary:
            temporary.write_bytes(drawing.png)
    settings = run.description()["settings"]
    write_text(folder / SETTINGS_FILE, dump_yaml(folder / SETTINGS_FILE, settings))
    write_text(run.path(REPORT_FILE), page)
