"""Figures as files: well formed, on white, the same bytes for the same run, and without a trace in matplotlib."""

from __future__ import annotations

import io
import re
from itertools import combinations
from xml.etree import ElementTree

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from noah.evaluation.significance import Proportion
from noah.nas.gene_importance import GeneImportance
from noah.space.kinds import KINDS, PUBLISHED
from noah.space.subnet import Subnet
from noah_cli.report.charts.accuracy import MOST_IN_MATRIX, MOST_IN_ROW, draw_classes, draw_confusion
from noah_cli.report.charts.comparison import draw_others
from noah_cli.report.charts.drawing import (
    Drawing,
    module_color,
    module_colors_css,
    module_name,
    module_word,
    shorten,
)
from noah_cli.report.charts.subnet import draw_importance, draw_subnet
from noah_cli.report.charts.training import draw_training
from noah_cli.report.others import Others, Tried
from noah_cli.report.reading import Missing
from noah_cli.report.tested import ClassResult, Measured
from noah_cli.report.trained import Training
from tests.noah_cli.report.conftest import Reported

SUBNET = Subnet([4, 0, 3], [0, 8, 1], [2, 2, 0])
NOTHING = Missing("None.")
EVERY_KIND = Subnet(**{kind: [1, 0, 1] for kind in KINDS})
LIGHT, DARK = "#ffffff", "#161d25"
"""The ground that figures stand on in the page's two schemes."""
SIGHT = {
    "normal": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
"""Linear RGB as it is seen (Machado, Oliveira, Fernandes, 2009)."""


def texts(drawing: Drawing) -> list[str]:
    """All text in a figure's file."""
    root = ElementTree.fromstring(drawing.svg)
    return ["".join(element.itertext()) for element in root.iter("{http://www.w3.org/2000/svg}text")]


def linear(color: str) -> NDArray[np.float64]:
    """Linear RGB of a color such as #17212b."""
    values = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    found: NDArray[np.float64] = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return found


def contrast(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """The contrast of two colors in linear RGB, 1 to 21, as WCAG defines it."""
    low, high = sorted(float(color @ [0.2126, 0.7152, 0.0722]) for color in (first, second))
    return (high + 0.05) / (low + 0.05)


def oklab(color: NDArray[np.float64]) -> NDArray[np.float64]:
    """A color in linear RGB in Oklab (Ottosson, 2020), where distances are as large as they look."""
    cones = [[0.41222, 0.53633, 0.05145], [0.2119, 0.6807, 0.1074], [0.0883, 0.28172, 0.62998]]
    lab = [[0.21045, 0.79362, -0.00407], [1.978, -2.42859, 0.45059], [0.0259, 0.78277, -0.80868]]
    found: NDArray[np.float64] = np.array(lab) @ np.cbrt(np.array(cones) @ np.clip(color, 0, 1))
    return found


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
    return Measured(right, None, 0.1, 0.1, None, results, confusions, NOTHING, NOTHING, ())


def test_widths_stand_in_the_cells() -> None:
    drawing = draw_subnet(SUBNET, {"prompt": 5, "lora": 8, "adapter": 4}, None)
    found = texts(drawing)
    for width in ("4", "3", "8", "1", "2"):
        assert width in found
    assert found.count("·") == 3
    assert "block 2: lora 8, adapter 2" in drawing.description


def test_every_kind_is_named_and_has_a_color_of_its_own() -> None:
    drawing = draw_subnet(EVERY_KIND, {}, None)
    lines = " ".join(texts(drawing))
    for kind in KINDS:
        assert f"{kind} 1" in drawing.description
        assert " ".join(module_name(kind).split()) in lines
        assert f"fill: {module_color(kind)}" in drawing.svg
        assert f"fill: var(--{kind})" in drawing.inline
    assert "#" not in "".join(re.findall(r'style="([^"]*)', drawing.inline)).replace("url(#", "")
    assert len({module_name(kind) for kind in KINDS}) == len({module_word(kind) for kind in KINDS}) == len(KINDS)


@pytest.mark.parametrize("sight", SIGHT)
@pytest.mark.parametrize(("scheme", "ground", "ink"), [(0, LIGHT, "#17212b"), (1, DARK, "#e6ecf2")])
def test_colors_of_kinds_can_be_told_apart(scheme: int, ground: str, ink: str, sight: str) -> None:
    css = module_colors_css().splitlines()[scheme]
    colors = dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", css))
    assert set(colors) == set(KINDS)
    seen = {kind: oklab(np.array(SIGHT[sight]) @ linear(color)) for kind, color in colors.items()}
    for one, other in combinations(KINDS, 2):
        assert np.linalg.norm(seen[one] - seen[other]) > 0.055, (one, other)
    for color in colors.values():
        assert contrast(linear(color), linear(ground)) >= 3
        strongest = "#" + "".join(
            f"{round(0.62 * top + 0.38 * below):02x}"
            for top, below in zip(bytes.fromhex(color[1:]), bytes.fromhex(ground[1:]), strict=True)
        )
        assert contrast(linear(strongest), linear(ink)) >= 3


@pytest.mark.parametrize(
    ("method", "kind"), [("lora:8", "lora"), ("lora_all:2", "lora"), ("bias", "bias"), ("BIAS + adapter:4", "bias")]
)
def test_a_method_has_the_color_of_its_first_kind(method: str, kind: str) -> None:
    right = Proportion(3, 4)
    this = Tried("digits/first", "searched", 9, 1.0, right)
    others = Others(this, (Tried("digits/second", method, 5, 1.0, right),), (), (), (), (), "")
    assert f"fill: {module_color(kind)}" in draw_others(others).svg


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


def test_the_loss_of_a_supernet_is_told_by_how_its_subnets_are_drawn() -> None:
    captions = {
        sampling: draw_training(
            "supernet", "the supernet", Training((2.0, 1.0), 2, True, None, sampling=sampling)
        ).caption
        for sampling in ("uniform", "fair", "sandwich")
    }
    assert captions["uniform"] == captions["fair"]
    assert captions["fair"].endswith(" Each step trains another subnet, so this is the mean loss of many subnets.")
    assert captions["sandwich"].endswith(
        " Each step trains the largest subnet, the smallest and some random ones; this is the loss of the largest."
    )
    assert "subnet" not in draw_training("retrain", "the subnet", Training((1.0,), 1, True, None)).caption
