"""Measuring an artifact on the test split."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.artifact.manifest import file_record, read_manifest, write_manifest
from export.checks.artifact_accuracy import evaluate_artifact
from export.formats.load import load_predictor
from noah.data.split import select
from noah.errors import ArtifactError
from noah.prepare.context import Materials, prepare
from noah.progress import Silent
from noah.runs.folder import Run
from noah.runs.kept_predictions import read_predictions
from tests.finished import FLOAT, Finished


@pytest.fixture
def run(project: Finished) -> Run:
    shutil.rmtree(project.run / "eval")
    return Run(project.run)


@pytest.fixture
def materials(run: Run) -> Materials:
    return prepare(run.settings(), Silent())


def measure(folder: Path, run: Run, materials: Materials) -> dict[str, Any]:
    return evaluate_artifact(load_predictor(folder, provider="cpu"), run, materials, Silent(), "result.json")


def test_the_result_is_kept_with_what_it_was_measured_on(project: Finished, run: Run, materials: Materials) -> None:
    result = measure(project.artifact(), run, materials)
    assert json.loads((project.run / "eval" / "artifact" / "result.json").read_text()) == result
    manifest = read_manifest(project.artifact())
    assert result["files"] == {"model.onnx": manifest.files["model.onnx"].sha256}
    assert (result["split"], result["provider"], result["total"]) == ("test", "CPUExecutionProvider", 18)
    last = json.loads((project.run / "log.jsonl").read_text().splitlines()[-1])
    assert (last["artifact"], last["correct"], last["total"]) == ("result.json", result["correct"], 18)


def test_its_predictions_are_kept_and_can_be_paired_with_the_winners(
    finished: Finished, project: Finished, run: Run, materials: Materials
) -> None:
    result = measure(project.artifact(), run, materials)
    kept = read_predictions(run, "artifact", "result.json")
    assert int(kept.right.sum()) == result["correct"]
    winner = read_predictions(Run(finished.run), "test.json")
    assert kept.fingerprint == winner.fingerprint
    assert kept.predicted.tolist() == winner.predicted.tolist()


@pytest.mark.parametrize("batch_size", [1, 5, 18, 64])
def test_the_batch_size_makes_no_difference(
    finished: Finished, project: Finished, run: Run, materials: Materials, batch_size: int
) -> None:
    hardware = materials.settings.hardware.model_copy(update={"evaluation_batch_size": batch_size})
    materials = replace(materials, settings=materials.settings.model_copy(update={"hardware": hardware}))
    result = measure(project.artifact(), run, materials)
    expected = json.loads((finished.run / "eval" / "artifact" / f"{FLOAT}.json").read_text())
    assert result["confusions"] == expected["confusions"]
    assert result["cross_entropy"] == pytest.approx(expected["cross_entropy"], rel=1e-5)


def put_behind(folder: Path, last: onnx.NodeProto, *constants: onnx.TensorProto) -> None:
    """Let one more node make the logits of what were the logits, which it knows as scores."""
    model = onnx.load(folder / "model.onnx")
    for node in model.graph.node:
        for place, name in enumerate(node.output):
            if name == "logits":
                node.output[place] = "scores"
    model.graph.initializer.extend(constants)
    model.graph.node.append(last)
    onnx.save(model, folder / "model.onnx")


def test_probabilities_are_as_good_as_logits(project: Finished, run: Run, materials: Materials) -> None:
    expected = measure(project.artifact(), run, materials)
    folder = project.artifact()
    put_behind(folder, helper.make_node("Softmax", ["scores"], ["logits"], axis=1))
    manifest = read_manifest(folder)
    write_manifest(
        manifest.model_copy(
            update={
                "output": manifest.output.model_copy(update={"values": "probabilities"}),
                "files": {"model.onnx": file_record(folder / "model.onnx")},
            }
        ),
        folder,
    )
    result = measure(folder, run, materials)
    assert result["confusions"] == expected["confusions"]
    for figure in ("cross_entropy", "calibration_error"):
        assert result[figure] == pytest.approx(expected[figure], rel=1e-3)


def test_outputs_that_are_not_finite_are_no_result(project: Finished, run: Run, materials: Materials) -> None:
    folder = project.artifact()
    nothing = numpy_helper.from_array(np.zeros(1, np.float32), "nothing")
    put_behind(folder, helper.make_node("Div", ["scores", "nothing"], ["logits"]), nothing)
    record = {"model.onnx": file_record(folder / "model.onnx")}
    write_manifest(read_manifest(folder).model_copy(update={"files": record}), folder)
    with pytest.raises(ArtifactError, match=r"^The artifact's outputs are not finite for 18 of 18 images\.\nRetrain"):
        measure(folder, run, materials)
    assert not (project.run / "eval").exists()


def other_classes(materials: Materials) -> Materials:
    return replace(materials, dataset=replace(materials.dataset, classes=("circle", "stripes", "square")))


def other_preprocessing(materials: Materials) -> Materials:
    preprocessing = replace(materials.backbone.preprocessing, interpolation="bilinear")
    return replace(materials, backbone=replace(materials.backbone, preprocessing=preprocessing))


@pytest.mark.parametrize("change", [other_classes, other_preprocessing])
def test_an_artifact_of_another_run_is_refused_before_the_test_split_is_touched(
    project: Finished, run: Run, materials: Materials, change: Any
) -> None:
    def load_test() -> Any:
        raise AssertionError("the test split was opened")

    changed = change(materials)
    changed = replace(changed, dataset=replace(changed.dataset, load_test=load_test))
    with pytest.raises(ArtifactError) as raised:
        measure(project.artifact(), run, changed)
    assert str(raised.value) == (
        "The artifact was not exported from shapes/first: its classes, preprocessing or decoding differ.\n"
        "Name its own run with --run."
    )
    assert not (project.run / "eval").exists()


def test_the_run_of_other_images_is_named_as_it_can_be_typed(project: Finished, run: Run, materials: Materials) -> None:
    manifest = read_manifest(project.artifact())
    other = manifest.run.model_copy(update={"name": "my photos/first", "data": "0" * 64})
    write_manifest(manifest.model_copy(update={"run": other}), project.artifact())
    with pytest.raises(ArtifactError) as raised:
        measure(project.artifact(), run, materials)
    assert raised.value.hint == "Name its own run: --run 'my photos/first'"


def test_confusion_counts_every_image_once(project: Finished, run: Run, materials: Materials) -> None:
    result = measure(project.artifact(FLOAT), run, materials)
    true, _, images = np.array(result["confusions"]).T
    assert np.bincount(true, images).tolist() == [6, 6, 6]


def test_an_artifact_of_other_images_is_refused(project: Finished, run: Run, materials: Materials) -> None:
    """Another seed splits the images otherwise: what it was trained on could be tested on."""
    train = select(materials.dataset.train, np.arange(len(materials.dataset.train) - 1))
    changed = replace(materials, dataset=replace(materials.dataset, train=train))
    with pytest.raises(ArtifactError, match=r"exported from shapes/first, whose images are split differently"):
        measure(project.artifact(), run, changed)
    assert not (project.run / "eval").exists()


def test_an_artifact_of_earlier_weights_is_refused(project: Finished, run: Run, materials: Materials) -> None:
    checkpoint = project.run / "retrain" / "checkpoint.safetensors"
    checkpoint.write_bytes((project.run / "supernet" / "checkpoint.safetensors").read_bytes())
    with pytest.raises(ArtifactError, match=r"with other weights than shapes/first has now"):
        measure(project.artifact(), run, materials)
