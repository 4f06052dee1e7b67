"""Draws all figures that the facts of a run allow."""

from __future__ import annotations

from noah.nas.gene_importance import GeneImportance
from noah.space.subnet import Subnet
from noah_cli.report.artifacts import Bench, Exported
from noah_cli.report.charts.accuracy import draw_classes, draw_confusion, draw_reliability
from noah_cli.report.charts.choice import draw_choice
from noah_cli.report.charts.comparison import draw_others, draw_speed
from noah_cli.report.charts.drawing import Drawing
from noah_cli.report.charts.search import draw_front, draw_progress
from noah_cli.report.charts.subnet import draw_importance, draw_subnet
from noah_cli.report.charts.training import draw_training
from noah_cli.report.facts import Facts
from noah_cli.report.others import Others
from noah_cli.report.reading import Missing
from noah_cli.report.searched import Searched
from noah_cli.report.trained import Training


def draw_figures(facts: Facts, importance: GeneImportance | Missing) -> dict[str, Drawing]:
    """Draw the figures by name, in the order of the page; missing facts have no figure."""
    drawings: list[Drawing] = []
    searched = facts.searched if isinstance(facts.searched, Searched) else None
    if isinstance(facts.subnet, Subnet):
        widest = searched.widest if searched else {kind: max(widths) for kind, widths in facts.subnet.present}
        drawings.append(draw_subnet(facts.subnet, widest, facts.parameters))
    if searched:
        drawings.append(draw_progress(searched))
        if searched.front:
            drawings.append(draw_front(searched))
    if isinstance(importance, GeneImportance) and searched:
        drawings.append(draw_importance(importance, searched.candidates[0].subnet.depth))
    for name, what, training in (
        ("supernet", "the supernet", facts.supernet),
        ("retrain", "the subnet on its own", facts.retrained),
    ):
        if isinstance(training, Training):
            drawings.append(draw_training(name, what, training))
    if not isinstance(facts.tested, Missing):
        drawings += [draw_confusion(facts.tested), draw_classes(facts.tested)]
        if not isinstance(facts.tested.bins, Missing):
            drawings.append(draw_reliability(facts.tested.bins, facts.tested.calibration_error))
    if isinstance(facts.others, Others) and (facts.others.runs or facts.others.paper):
        drawings.append(draw_others(facts.others))
    bench = facts.exported.bench if isinstance(facts.exported, Exported) else None
    if isinstance(bench, Bench) and any(speed.ratio for speeds in bench.speeds.values() for speed in speeds):
        drawings.append(draw_speed(bench))
    if isinstance(facts.exported, Exported):
        drawings += [draw_choice(name, choice) for name, choice in facts.exported.choices.items()]
    return {drawing.name: drawing for drawing in drawings}
