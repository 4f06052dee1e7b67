"""The chart of a choice: every candidate is in it, and what was chosen stands out in words, too."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from export.artifact.records import CandidateRecord
from noah_cli.report.charts.choice import draw_choice
from tests.export.choices import make_choice


def test_every_candidate_is_drawn_or_named() -> None:
    drawing = draw_choice("onnx-fp32", make_choice())
    assert drawing.name == "choice-onnx-fp32"
    for name in ("onnx-fp32", "onnx-fp16", "openvino-fp32"):
        assert f">{name}<" in drawing.svg and f"{name} " in drawing.description
    assert "Not timed: onnx-int8, trt-fp16." in drawing.description
    assert "onnx-fp32 1.98 times as fast, 95.0% right" in drawing.description
    assert draw_choice("onnx-fp32", make_choice()).svg == drawing.svg


def test_a_choice_of_one_is_drawn_too() -> None:
    only = make_choice().candidates[0]
    drawing = draw_choice("onnx-fp32", make_choice(candidates=(only,), correct_in_float32=0, fastest="onnx-fp32"))
    assert "Not timed" not in drawing.caption


def test_a_candidate_is_timed_or_refused() -> None:
    with pytest.raises(ValidationError, match="either timed"):
        CandidateRecord(name="a", format="onnx", precision="fp32", correct=1)
    with pytest.raises(ValidationError, match="either timed"):
        CandidateRecord(**{**make_choice().candidates[0].model_dump(), "refused": "no"})
