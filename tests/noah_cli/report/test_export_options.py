"""The options of an export, read back from its manifest."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from export.artifact.records import EngineProfile, EngineRecord, QuantizationRecord, TriedRecord
from export.convert.int8 import ways_to_try
from export.convert.int8_options import Int8Options
from export.convert.int8_writer import Way
from noah_cli.report.export_options import export_options
from tests.export.tiny_artifact import make_manifest


def quantized(*tried: str, **changes: Any) -> QuantizationRecord:
    """A record of 8 bits that was made in one of several ways, the last unless `changes` say otherwise."""
    fields: dict[str, Any] = {
        "products": 4,
        "kept": {},
        "ranges": "minmax over 512 training images of digits, which it was trained on",
        "images": "9 images",
        "total": 9,
        "correct": 9,
        "correct_in_float32": 9,
        "top1_agreement": 1.0,
        "tried": tuple(TriedRecord(how=how, correct=9, top1_agreement=1.0, divergence=0.1) for how in tried),
    }
    return QuantizationRecord(**(fields | changes))


def options(sizes: tuple[int, ...] = (1, 2, 32), **changes: Any) -> str:
    manifest = make_manifest(Path(__file__), **changes)
    (parity,) = manifest.parity
    batches = tuple(parity.batches[0].model_copy(update={"batch": size}) for size in sizes)
    words, _ = export_options(manifest.model_copy(update={"parity": (parity.model_copy(update={"batches": batches}),)}))
    return " ".join(words)


def of_8_bits(precision: str, record: QuantizationRecord) -> tuple[str, list[str]]:
    manifest = make_manifest(Path(__file__), precision=precision, quantization=record)
    words, unknown = export_options(manifest)
    told = [word for word in words if not word.startswith(("--format", "--precision", "--batch"))]
    return " ".join(told), unknown


def test_what_was_left_at_its_default_is_not_told() -> None:
    assert options() == "--format onnx --precision fp32"
    assert options(kind="uint8", precision="bf16", opset=22) == "--format onnx --precision bf16 --input uint8"
    assert options(format="pt2", opset=None) == "--format pt2"


def test_the_operator_set_is_told() -> None:
    assert options(opset=18) == "--format onnx --precision fp32 --opset 18"


def engine(minimum: int, optimum: int, maximum: int) -> EngineRecord:
    return EngineRecord(
        package="tensorrt",
        version="10",
        reason="it is there",
        targets=("sm89", "sm90"),
        profile=EngineProfile(minimum=minimum, optimum=optimum, maximum=maximum),
        inputs=(),
        outputs=(),
        layers={},
        timing_cache="none",
        build_seconds=1.0,
        warnings=(),
        verified="not run here",
    )


def test_the_batches_of_an_engine_are_told() -> None:
    trt = "--format trt --precision fp16"
    assert options(format="trt", precision="fp16", engine=engine(1, 32, 256)) == f"{trt} --target sm89,sm90"
    assert options(format="trt", precision="fp16", engine=engine(1, 1, 256)) == (
        f"{trt} --batch 1:1:256 --target sm89,sm90"
    )


@pytest.mark.parametrize(
    ("sizes", "told"), [((2, 4, 8), " --batch 2:4:8"), ((1, 32), " --batch 1:1:32"), ((8,), " --batch 8:8:8")]
)
def test_the_batches_that_a_file_was_checked_at_are_told(sizes: tuple[int, ...], told: str) -> None:
    assert options(sizes) == f"--format onnx --precision fp32{told}"


def test_the_ways_that_are_read_are_those_that_are_written() -> None:
    assert str(Way(True, "minmax")) == "smoothed, minmax"
    assert str(Way(False, None, (2,))) == "not smoothed, block 3 in float32"


@pytest.mark.parametrize("calibration", [None, "minmax", "entropy", "percentile"])
@pytest.mark.parametrize("smooth", [True, False])
@pytest.mark.parametrize("excluded", [True, False])
def test_the_options_of_int8_that_was_tried_to_the_end(calibration: Any, smooth: bool, excluded: bool) -> None:
    ways = ways_to_try("int8", Int8Options(calibration, smooth=smooth))
    record = quantized(
        *map(str, (*ways, replace(ways[-1], float_blocks=(2,)))),
        ranges=f"{ways[-1].calibration} over 1,024 training images of digits, which it was trained on",
        kept={"in the last block": 4} if excluded else {},
        float_blocks=(3,),
    )
    words = [
        *([f"--calibration {calibration}"] if calibration else []),
        "--calibration-images 1024",
        *(["--exclude-last-block"] if excluded else []),
        *([] if smooth else ["--no-smooth"]),
    ]
    assert of_8_bits("int8", record) == (" ".join(words), [])


def test_the_options_of_int8_whose_first_way_was_good_enough() -> None:
    assert of_8_bits("int8", quantized("smoothed, minmax")) == ("", [])
    assert of_8_bits("int8", quantized("smoothed, minmax", "not smoothed, minmax")) == (
        "--calibration minmax",
        [],
    )


@pytest.mark.parametrize(
    ("tried", "told"),
    [
        (("not smoothed",), ("", ["--no-smooth"])),
        (("not smoothed", "smoothed"), ("", [])),
        (("not smoothed", "not smoothed, block 3 in float32"), ("--no-smooth", [])),
    ],
)
def test_the_options_of_int8_dynamic(tried: tuple[str, ...], told: tuple[str, list[str]]) -> None:
    assert of_8_bits("int8-dynamic", quantized(*tried, ranges="each batch when it is run")) == told


def test_of_an_earlier_version_less_is_known() -> None:
    assert of_8_bits("int8", quantized()) == ("--calibration minmax", ["--no-smooth"])
    assert of_8_bits("int8", quantized(ranges="somewhere")) == (
        "",
        ["--calibration", "--calibration-images", "--no-smooth"],
    )
