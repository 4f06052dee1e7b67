"""A run's temperature in its artifacts: inside those that give probabilities, beside those that give logits."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import softmax

from export.artifact.manifest import CARD_FILE, MODEL_FILE, read_manifest
from export.artifact.metadata import TEMPERATURE, read_metadata
from export.formats.load import load_predictor
from noah.evaluation.temperature import Temperature
from tests.commands import noah
from tests.finished import Finished

HEAT = 2.5


@pytest.fixture
def warm(project: Finished) -> Finished:
    """The finished run, as if a temperature had been fitted at its end."""
    path = project.run / "retrain" / "model.json"
    fitted = Temperature(HEAT, 18, "images held out of its training", (0.5, 0.4), (0.2, 0.1))
    path.write_text(json.dumps(json.loads(path.read_text()) | {"temperature": fitted.to_json()}))
    return project


@pytest.mark.parametrize(
    "options",
    [(), ("--output", "probabilities"), ("--output", "probabilities", "--precision", "int8-dynamic")],
    ids=str,
)
def test_probabilities_are_at_the_temperature_whoever_makes_them(warm: Finished, options: tuple[str, ...]) -> None:
    outcome = noah("export", "--format", "onnx", *options)
    assert outcome.code == 0, outcome.err
    name = "-".join(["onnx", "int8-dynamic" if "int8-dynamic" in options else "fp32", *options[1:2]])
    predictor = load_predictor(warm.artifact(name), provider="cpu")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 32, 32, 3), dtype=np.uint8)
    logits = load_predictor(warm.artifact("onnx-fp32-uint8"), provider="cpu").run(pixels)
    expected = softmax(logits.astype(float) / HEAT, axis=1)
    tolerance = 1e-5 if "int8-dynamic" not in options else 0.1
    assert np.abs(predictor.probabilities(pixels) - expected).max() < tolerance
    if not options:
        np.testing.assert_allclose(predictor.run(pixels), logits, rtol=1e-3, atol=1e-4)
    assert predictor.manifest.temperature is not None
    assert predictor.manifest.temperature.value == HEAT
    assert read_metadata(predictor.folder / MODEL_FILE)[TEMPERATURE] == HEAT
    assert "Temperature: 2.5, fitted on 18 images held out" in (predictor.folder / CARD_FILE).read_text()
    assert noah("eval", predictor.folder).code == 0
    kept = json.loads((warm.run / "eval" / "artifact" / f"{name}.json").read_text())
    test = json.loads((warm.run / "eval" / "test.json").read_text())
    assert kept["calibrated"]["temperature"] == HEAT
    if "int8-dynamic" not in options:
        assert kept["correct"] == test["correct"]
        assert kept["cross_entropy"] == pytest.approx(test["cross_entropy"], rel=1e-3)


def test_verify_compares_it(warm: Finished) -> None:
    assert noah("export", "--format", "onnx").code == 0
    assert read_manifest(warm.artifact()).softmax_temperature == HEAT
    assert "artifact onnx-fp32: its files, weights, subnet and classes match the run" in noah("verify", "--quick").words
    path = warm.run / "retrain" / "model.json"
    model = json.loads(path.read_text())
    path.write_text(json.dumps(model | {"temperature": model["temperature"] | {"value": 2.4}}))
    outcome = noah("verify", "--quick")
    assert outcome.code == 1
    assert "artifact onnx-fp32: It was made from another temperature than the run's" in outcome.words


def test_a_torch_artifact_tells_it(warm: Finished) -> None:
    assert noah("export", "--format", "safetensors").code == 0
    assert read_manifest(warm.artifact("safetensors")).softmax_temperature == HEAT
