"""8-bit artifacts of a finished run: calibrated on its training images, refused where they lose accuracy."""

from __future__ import annotations

import json
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import export.convert.int8_writer
from export.artifact.manifest import check_files, read_manifest
from export.artifact.metadata import CLASSES, PRECISION, read_metadata
from export.artifact.records import Int8Precision
from export.convert.accuracy_loss import AccuracyLoss
from export.convert.int8 import Tried, first_choice, ways_to_try
from export.convert.int8_images import CalibrationBatches, calibration_pixels
from export.convert.int8_options import Int8Options
from export.convert.int8_writer import Way, named_blocks
from export.formats.load import load_predictor
from export.formats.registry import FORMATS
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import choose_builder
from export.write.request import Request
from noah.prepare.context import Materials, prepare
from noah.prepare.held_out import final_images
from noah.progress import Silent
from noah.runs.folder import Run
from noah.stages.retrain_stage import retrain
from tests.commands import file_contents, noah
from tests.conftest import PHOTO_CLASSES
from tests.finished import FLOAT, UINT8, Finished
from tests.noah.tiny_run import Recorder


@pytest.fixture
def materials(finished: Finished) -> Materials:
    return prepare(Run(finished.run).settings(), Silent())


@pytest.fixture(scope="module", params=["int8", "int8-dynamic"])
def quantized(request: pytest.FixtureRequest, finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An artifact in 8 bits that takes pixels."""
    run = Run(finished.copy(tmp_path_factory.mktemp(request.param)).run)
    precision: Int8Precision = request.param
    asked = Request(precision=precision, input="uint8", profile=Profile(1, 3, 18))
    return FORMATS["onnx"].write(run, prepare(run.settings(), Silent()), Silent(), asked)


def test_the_manifest_tells_what_is_in_8_bits_and_what_it_costs(quantized: Path) -> None:
    manifest = read_manifest(quantized)
    check_files(manifest, quantized)
    record = manifest.quantization
    assert record is not None
    assert quantized.name == f"onnx-{manifest.precision}-uint8"
    operator = "MatMul" if manifest.precision == "int8" else "MatMulInteger"
    in_8_bits = sum(manifest.types.get(name, {}).get("uint8+int8", 0) for name in (operator, "Gemm"))
    assert in_8_bits == manifest.types["weights"]["int8"] == record.products >= 20
    assert record.kept["of two activations or head by head"] >= 10
    assert record.ranges == (
        "minmax over 36 training images of shapes, which it was trained on"
        if manifest.precision == "int8"
        else "each batch when it is run"
    )
    assert (record.images, record.total) == ("18 validation images of shapes, which it was trained on", 18)
    assert record.correct >= record.correct_in_float32
    assert record.top1_agreement > 0.8
    parity, _ = manifest.parity  # and that of predict.py
    assert (parity.method, parity.runs_on) == ("run", "onnxruntime CPUExecutionProvider")
    assert [batch.batch for batch in parity.batches] == [1, 3, 18]
    assert all(1e-4 < batch.max_difference < 0.2 for batch in parity.batches)
    assert {path.name for path in quantized.iterdir()} == {"manifest.json", "model_card.md", *manifest.files}
    assert set(manifest.files) == {"model.onnx", "predict.py", "requirements.txt"}


def test_labels_and_precision_are_in_the_file_as_in_any_other(quantized: Path) -> None:
    notes = read_metadata(quantized / "model.onnx")
    assert tuple(notes[CLASSES]) == PHOTO_CLASSES
    assert notes[PRECISION] == read_manifest(quantized).precision
    assert "onnx.quant.pre_process" not in notes


def test_the_card_tells_the_same(quantized: Path) -> None:
    record = read_manifest(quantized).quantization
    assert record is not None
    card = (quantized / "model_card.md").read_text(encoding="utf-8")
    assert f"{record.products} products are in 8 bits" in card
    assert f"it gets {record.correct:,} right, and the same network in float32 {record.correct_in_float32:,}" in card


def test_it_is_smaller_and_predicts_nearly_the_same(quantized: Path, finished: Finished) -> None:
    sizes = [path.joinpath("model.onnx").stat().st_size for path in (quantized, finished.artifact(UINT8))]
    assert sizes[0] < 0.6 * sizes[1]  # of this tiny network, norms and patch embedding are a large part
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), dtype=np.uint8)
    found, expected = (
        load_predictor(path, provider="cpu").probabilities(pixels) for path in (quantized, finished.artifact(UINT8))
    )
    assert 0 < np.abs(found - expected).max() < 0.4


def test_what_was_held_out_measures_and_what_was_learned_from_calibrates(finished: Finished, tmp_path: Path) -> None:
    """Of 54 images a third is held out, 9 of them for gates: these alone measure, and none of them calibrates."""
    run = Run(finished.copy(tmp_path).run)
    settings = run.settings()
    retraining = settings.retrain.model_copy(update={"hold_out": 1 / 3})
    materials = prepare(settings.model_copy(update={"retrain": retraining}), Silent())
    shutil.rmtree(run.path("retrain"))
    assert retrain(run, materials, Silent())["images"] == 36
    final, listener = final_images(materials), Recorder()
    assert final.held_out is not None
    asked = Request(precision="int8", int8=Int8Options(images=7))
    artifact = FORMATS["onnx"].write(run, materials, listener, asked)
    record = read_manifest(artifact).quantization
    assert record is not None
    images = "9 images of shapes that were held out of its training"
    assert (record.images, record.total) == (images, 9)
    assert record.ranges == "minmax over 7 training images of shapes, which it was trained on"
    assert f"Of {images}, it gets" in (artifact / "model_card.md").read_text(encoding="utf-8")
    assert any(f"of {images}, " in line for line in listener.said)
    calibrating = calibration_pixels(materials, 1000, Silent())
    held = {final.held_out.gates.name(index) for index in range(9)}
    assert not held & {calibrating.name(index) for index in range(len(calibrating))}


def test_calibration_takes_training_images_of_every_class(materials: Materials) -> None:
    pixels = calibration_pixels(materials, 9, Silent())
    train = materials.dataset.train
    names = {train.name(index) for index in range(len(train))}
    assert {pixels.name(index) for index in range(len(pixels))} < names
    assert sorted(set(pixels.labels.tolist())) == [0, 1, 2]
    assert len(calibration_pixels(materials, 1000, Silent())) == len(train)


@pytest.mark.parametrize("raw_pixels", [True, False])
def test_batches_hold_every_image_once_as_the_network_takes_it(materials: Materials, raw_pixels: bool) -> None:
    pixels = calibration_pixels(materials, 19, Silent())
    batches = [batch["images"] for batch in CalibrationBatches(pixels, raw_pixels=raw_pixels, bar=Silent())]
    assert [len(batch) for batch in batches] == [8, 8, 3]
    everything = pixels.batch(np.arange(19))
    expected = everything if raw_pixels else materials.backbone.preprocessing.normalize(everything)
    assert np.array_equal(np.concatenate(batches), expected)


@pytest.mark.parametrize(
    ("correct", "of", "allowed"),
    [(200, 200, True), (199, 200, True), (198, 200, False), (17, 18, False), (18, 18, True)],
)
def test_half_a_point_may_be_lost_and_no_more(correct: int, of: int, allowed: bool) -> None:
    loss = AccuracyLoss("images", of, correct, of, correct, 0.1)
    assert loss.is_allowed == allowed
    assert loss.points == pytest.approx(100 * (of - correct) / of)
    assert AccuracyLoss("images", of, of, correct, of, 0.1).is_allowed  # some are won


def spoil(monkeypatch: pytest.MonkeyPatch, blocks: Collection[int]) -> None:
    """Let the quantized matrices of some blocks be lost in writing."""
    original = export.convert.int8_writer.write_int8

    def write(*arguments: Any, **options: Any) -> None:
        original(*arguments, **options)
        _, target, products, *_ = arguments
        spoiled = {name for name, place in zip(products.names, products.blocks, strict=True) if place in blocks}
        model = onnx.load(target)
        weights = {tensor.name: tensor for tensor in model.graph.initializer}
        makers = {node.output[0]: node for node in model.graph.node}
        for node in model.graph.node:
            if node.name in spoiled:
                tensor = weights[makers[node.input[1]].input[0]]
                values = numpy_helper.to_array(tensor)
                values = np.random.default_rng(0).choice([-127, 127], values.shape).astype(values.dtype)
                tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
        onnx.save(model, target)

    monkeypatch.setattr(export.convert.int8_writer, "write_int8", write)


def test_an_artifact_that_loses_accuracy_is_refused_with_what_to_try(
    project: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = file_contents(project.run / "export")
    spoil(monkeypatch, range(-1, 99))
    outcome = noah("export", "--precision", "int8", "--calibration-images", 6)
    assert outcome.code == 1
    problem, hint = outcome.error_lines
    assert problem.startswith("Error: The exported model fails the accuracy check: int8 loses ")
    assert "points on 18 validation images of shapes, which it was trained on (" in problem
    assert problem.endswith("but only 0.5 is allowed.")
    assert hint == ("Nothing was written. Try --calibration-images 12 or --precision fp16.")
    assert file_contents(project.run / "export") == before
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8]


def test_a_block_that_loses_too_much_stays_in_float32(finished: Finished, tmp_path: Path) -> None:
    run, listener = Run(finished.copy(tmp_path).run), Recorder()
    with pytest.MonkeyPatch.context() as patch:
        spoil(patch, [1])
        artifact = FORMATS["onnx"].write(run, prepare(run.settings(), Silent()), listener, Request(precision="int8"))
    manifest = read_manifest(artifact)
    record = manifest.quantization
    assert record is not None
    assert record.float_blocks == (2,)
    assert record.kept["in blocks that lose too much"] >= 4
    assert manifest.types["weights"]["int8"] == record.products
    assert record.correct >= record.correct_in_float32
    *lost, last = record.tried
    assert len(lost) == 4 and all(each.correct < record.correct for each in lost)
    assert last.how.endswith("block 2 in float32")
    assert sum(line.startswith("accuracy ") for line in listener.said) == 5
    assert any(line.startswith("takes ") and "block 2 in float32" in line for line in listener.said)
    card = (artifact / "model_card.md").read_text(encoding="utf-8")
    assert "Blocks in float32, as they lose too much in 8 bits: 2." in card


def test_all_or_nothing_if_one_asks_for_it(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    spoil(monkeypatch, [1])
    outcome = noah("export", "--precision", "int8", "--calibration", "minmax", "--no-mixed", "--no-smooth")
    assert outcome.code == 1
    assert outcome.error_lines[1] == (
        "Nothing was written. Try without --no-smooth, without --no-mixed, without --calibration, --exclude-last-block "
        "or --precision fp16."
    )


@pytest.mark.parametrize(
    ("precision", "options", "ways"),
    [
        (
            "int8",
            Int8Options(),
            ["smoothed, minmax", "not smoothed, minmax", "smoothed, percentile", "smoothed, entropy"],
        ),
        ("int8", Int8Options(calibration="entropy"), ["smoothed, entropy", "not smoothed, entropy"]),
        ("int8", Int8Options(smooth=False, calibration="minmax"), ["not smoothed, minmax"]),
        (
            "int8",
            Int8Options(smooth=False),
            ["not smoothed, minmax", "not smoothed, percentile", "not smoothed, entropy"],
        ),
        ("int8-dynamic", Int8Options(), ["not smoothed", "smoothed"]),
        ("int8-dynamic", Int8Options(smooth=False), ["not smoothed"]),
    ],
)
def test_ways_are_those_that_nothing_was_asked_against(
    precision: Int8Precision, options: Int8Options, ways: list[str]
) -> None:
    assert [str(way) for way in ways_to_try(precision, options)] == ways


def test_of_those_that_pass_the_closest_is_taken_and_one_of_no_concern_at_once() -> None:
    minmax, plain, percentile, entropy = ways_to_try("int8", Int8Options())

    def choose(**correct_and_divergence: tuple[int, int, float]) -> tuple[Way, list[Way]]:
        losses = dict(zip((minmax, plain, percentile, entropy), correct_and_divergence.values(), strict=True))
        asked: list[Way] = []

        def attempt(way: Way) -> Tried:
            asked.append(way)
            correct, agreeing, divergence = losses[way]
            return Tried(way, Path(), AccuracyLoss("images", 400, correct, 380, agreeing, divergence))

        return first_choice(attempt, "int8", Int8Options()).way, asked

    # The most accurate is not the closest, and the closest fails the check.
    chosen, asked = choose(a=(378, 390, 0.3), b=(381, 390, 0.2), c=(379, 390, 0.1), d=(377, 399, 0.01))
    assert (chosen, len(asked)) == (percentile, 4)
    chosen, asked = choose(a=(370, 390, 0.3), b=(380, 396, 0.2), c=(400, 400, 0), d=(400, 400, 0))
    assert (chosen, asked) == (plain, [minmax, plain])
    chosen, _ = choose(a=(370, 390, 0.3), b=(371, 390, 0.4), c=(369, 390, 0.2), d=(371, 390, 0.4))
    assert chosen == percentile  # none passes; it goes on with blocks in float32


@pytest.mark.parametrize(
    ("blocks", "words"),
    [
        ((3,), "block 4"),
        ((4, 0), "blocks 1 and 5"),
        ((2, 0, 1, -1), "blocks 1, 2 and 3 and what is outside the blocks"),
    ],
)
def test_blocks_are_counted_from_one(blocks: tuple[int, ...], words: str) -> None:
    assert named_blocks(blocks) == words


def test_the_command_tells_each_step(project: Finished) -> None:
    outcome = noah("export", "--precision", "int8", "--exclude-last-block", "--calibration", "entropy")
    assert (outcome.code, outcome.err) == (0, "")
    assert "writing model.onnx, int8, opset 20, batch axis free" in outcome.words
    assert "others stay in float32: " in outcome.words
    assert "in the last block" in outcome.words
    assert (
        "calibrate entropy over 36 training images of shapes, which it was trained on (all there are)" in outcome.words
    )
    assert "in float32 of 18 validation images of shapes, which it was trained on, " in outcome.words
    last = json.loads((project.run / "log.jsonl").read_text().splitlines()[-1])
    assert last["name"] == "onnx-int8"
    outcome = noah("predict", "runs/latest/export/onnx-int8", project.folder / "noah.yaml")
    assert outcome.code == 1  # a file that is no image; the artifact opens


def test_an_engine_in_8_bits_comes_from_a_symmetric_file(project: Finished) -> None:
    run = Run(project.run)
    options = Int8Options(images=12)
    builder = choose_builder("int8", ("sm89",))
    asked = Request(format="trt", precision="int8", int8=options, profile=Profile(1, 2, 4), builder=builder)
    manifest = read_manifest(FORMATS["trt"].write(run, prepare(run.settings(), Silent()), Silent(), asked))
    assert manifest.engine is not None and manifest.quantization is not None
    assert manifest.engine.layers["QUANTIZE"] == {"INT8": manifest.quantization.products}
    assert manifest.types["MatMul"]["int8+int8"] > 10
    assert manifest.quantization.ranges == "minmax over 12 training images of shapes, which it was trained on"
