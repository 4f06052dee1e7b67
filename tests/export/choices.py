"""A choice of `--format auto` made up for tests: five candidates, of which three were timed."""

from __future__ import annotations

from typing import Any

from export.artifact.records import CandidateRecord, ChoiceRecord, Precision


def make_choice(**changes: Any) -> ChoiceRecord:
    """A choice for which onnx-fp32 was taken, since openvino-fp32 was no faster; `changes` replace whole fields."""

    def timed(format_: str, precision: Precision, seconds: float, correct: int, *, close: bool) -> CandidateRecord:
        ratio = 0.02 / seconds
        return CandidateRecord(
            name=f"{format_}-{precision}",
            format=format_,
            precision=precision,
            correct=correct,
            seconds=seconds,
            times_as_fast=(0.98 * ratio, ratio, 1.05 * ratio),
            is_close=close,
        )

    fields: dict[str, Any] = {
        "purpose": "throughput",
        "batch": 8,
        "lose_at_most": 0.5,
        "images": "400 images of tiny that were held out of its training",
        "total": 400,
        "correct_in_float32": 380,
        "processor": "A <small> processor",
        "threads": 1,
        "rounds": 50,
        "backbone_seconds": 0.02,
        "fastest": "openvino-fp32",
        "reason": "it cannot be told from the fastest, openvino-fp32, by these times, and is simpler",
        "candidates": (
            timed("onnx", "fp32", 0.0101, 380, close=True),
            timed("onnx", "fp16", 0.019, 379, close=False),
            timed("openvino", "fp32", 0.01, 380, close=True),
            CandidateRecord(
                name="onnx-int8", format="onnx", precision="int8", correct=360, refused="It loses 5 points"
            ),
            CandidateRecord(
                name="trt-fp16", format="trt", precision="fp16", refused="this machine has no NVIDIA driver"
            ),
        ),
    }
    return ChoiceRecord(**(fields | changes))
