"""Figures as files: well formed, on white, the same bytes for the same run, and without a trace in matplotlib."""

from __future__ import annotations

import io
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from PIL import Image

from noah.evaluation.significance import Proportion
from noah.nas.gene_importance import GeneImportance
from noah.space.kinds import PUBLISHED
from noah.space.subnet import Subnet
from noah_cli.report.charts.accuracy import MOST_IN_MATRIX, MOST_IN_ROW, draw_classes, draw_confusion
from noah_cli.report.charts.drawing import Drawing, shorten
from noah_cli.report.charts.subnet import draw_importance, draw_subnet
from noah_cli.report.charts.training import draw_training
from noah_cli.report.reading import Missing
from noah_cli.report.tested import ClassResult, Measured
from noah_cli.report.trained import Training
from tests.noah_cli.report.conftest import Reported

SUBNET = Subnet([4, 0, 3], [0, 8, 1], [2, 2, 0])
NOTHING = Missing("None.")


def texts(drawing: Drawing) -> list[str]:
    """All text in a figure's file."""
    root = ElementTree.fromstring(drawing.svg)
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def measured(classes: int) -> Measured:
    """A test of many classes, the last of them without images."""
    confusion = np.diag(np.full(classes, 9))
    confusion[np.arange(classes), (np.arange(classes) + 1) % classes] = np.arange(classes) % 4
    confusion[-1] = 0
    results = tuple(
        ClassResult(f"class {label}", Proportion(int(row[label]), int(row.sum())) if row.sum() else None)
        for label, row in enumerate(confusion)
    )
    right = Proportion(int(np.trace(confusion)), int(confusion.sum()))
    confusions = np.column_stack([*np.nonzero(confusion), confusion[np.nonzero(confusion)]])
    return Measured(right, None, 0.1, 0.1, results, confusions, NOTHING, NOTHING, ())


def test_widths_stand_in_the_cells() -> None:
    drawing = draw_subnet(SUBNET, {"prompt": 5, "lora": 8, "adapter": 4}, None)
    found = texts(drawing)
    for width in ("4", "3", "8", "1", "2"):
        assert width in found
    assert found.count("·") == 3
    assert "block 2: lora 8, adapter 2" in drawing.description


def test_the_same_figure_gives_the_same_bytes_and_changes_no_setting() -> None:
    before = dict(matplotlib.rcParams)
    first, second = (draw_subnet(SUBNET, {}, None) for _ in range(2))
    assert (first.svg, first.png) == (second.svg, second.png)
    assert dict(matplotlib.rcParams) == before
    assert "<dc:date>" not in first.svg


def test_files_stand_on_white() -> None:
    drawing = draw_training("supernet", "the supernet", Training((2.0, 1.0), 2, True, None))
    image = Image.open(io.BytesIO(drawing.png)).convert("RGBA")
    assert image.getpixel((0, 0)) == (255, 255, 255, 255)
    assert "#ffffff" in drawing.svg and "#ffffff" not in drawing.inline


def test_importance_tells_what_cannot_be_told() -> None:
    importance = {"prompt": (0.5, 0.01), "lora": (None, None), "adapter": (-0.2, 0.0)}
    found = GeneImportance(importance, dict.fromkeys(PUBLISHED, (0.1, 0.1)), 0.05, 0.6, 40, 0)
    drawing = draw_importance(found, 2)
    assert texts(drawing).count("\N{EN DASH}") == 2
    assert {"50.0", "1.0", "0.0"} <= set(texts(drawing))
    assert "prompt in block 1." in drawing.description


@pytest.mark.parametrize("losses", [(1.5,), (1.5, 0.2), (0.0, 0.0), tuple(np.geomspace(2, 0.01, 500).tolist())])
@pytest.mark.parametrize("finished", [True, False])
def test_a_training_of_any_length(losses: tuple[float, ...], finished: bool) -> None:
    epochs = len(losses) if finished else 2 * len(losses)
    drawing = draw_training("retrain", "the subnet", Training(losses, epochs, finished, None))
    assert f"{losses[-1]:.3f}" in texts(drawing)
    assert ("are planned" in drawing.description) == (not finished)


@pytest.mark.parametrize("classes", [2, 10, MOST_IN_MATRIX, 300])
def test_any_number_of_classes(classes: int) -> None:
    found = measured(classes)
    matrix, row = draw_confusion(found), draw_classes(found)
    assert ("all classes" in matrix.title) == (classes <= MOST_IN_MATRIX)
    shown = [text for text in texts(row) if text.startswith("class ")]
    assert len(shown) == min(classes - 1, MOST_IN_ROW)  # of one class there is no image
    assert len(matrix.svg) < 500_000


def test_files_of_a_report_are_images(reported: Reported) -> None:
    folder = reported.run / "report"
    for path in folder.glob("*.svg"):
        ElementTree.parse(path)
        assert Image.open(path.with_suffix(".png")).width > 900


def test_long_names_are_cut() -> None:
    assert shorten("short") == "short"
    assert shorten("x" * 40) == "x" * 17 + "…"
