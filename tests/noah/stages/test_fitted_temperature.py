"""The temperature of a run: fitted on images that were not trained on or not at all, kept, and used by tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noah.errors import RunError
from noah.evaluation.reliability import confidences
from noah.evaluation.temperature import Temperature, fit_temperature
from noah.prepare.held_out import final_images, temperature_images
from noah.prepare.new_run import start_run
from noah.progress import Silent
from noah.runs.kept_predictions import read_predictions
from noah.runs.run_temperature import EARLIER, read_temperature
from noah.settings.layers import Layer, resolve
from noah.stages.fitted_temperature import fitted_temperature
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import evaluate_test, load_retrained, retrain
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, make_materials

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize(
    "changes", [{}, {"retrain.patience": 1, "retrain.epochs": 4}, {"retrain.average_epochs": 1}], ids=str
)
def test_it_belongs_to_the_weights_that_are_handed_over(
    tiny_settings: TinySettings, tmp_path: Path, changes: dict[str, object]
) -> None:
    values = tiny_settings({"retrain.hold_out": 1 / 3, "retrain.learning_rate": 0.1, **changes})
    settings, origins = resolve([Layer(source="test", values=values)])
    run, materials = start_run(tmp_path, settings, origins, Silent(), name="first", subnet="lora:2")
    listener = Recorder()
    result = retrain(run, materials, listener)
    kept, _ = read_temperature(run)
    assert kept == Temperature.from_json(result["temperature"])
    model, subnet = load_retrained(run, materials)
    held = final_images(materials).held_out
    assert held is not None
    assert len(held.both) == len(held.stopping) + len(held.gates) == kept.images
    pixels = materials.pixels(held.both, "held-out", Silent())
    logits = merged_logits(model, subnet, pixels, materials)
    assert kept == fit_temperature(logits, pixels.labels, "images held out of its training")
    assert any(
        line.startswith(f"softmax   temperature {kept.value:.3g}, fitted on 18 images") for line in listener.said
    )
    test = evaluate_test(run, materials, Silent())
    assert test["calibrated"]["temperature"] == kept.value
    predictions = read_predictions(run, "test.json")
    pixels = materials.pixels(materials.dataset.load_test(), "test", Silent())
    logits = merged_logits(model, subnet, pixels, materials)
    assert predictions.confidence is not None
    np.testing.assert_allclose(predictions.confidence, confidences(logits / np.float32(kept.value)), atol=1e-5)
    np.testing.assert_array_equal(predictions.predicted, logits.argmax(axis=1))


def test_there_is_none_where_every_image_was_trained_on(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings())
    split, why = temperature_images(materials)
    assert split is None
    assert "no images were held out of its training" in why
    assert "--set retrain.hold_out=0.1" in why


def test_validation_images_serve_where_they_were_not_trained_on(tiny_settings: TinySettings) -> None:
    """As with the shots of a few-shot set; one image that was trained on forbids it."""
    materials = make_materials(tiny_settings())
    data = materials.dataset
    shots = replace(materials, dataset=replace(data, retrain=data.train))
    assert temperature_images(shots) == (data.validation, "validation images, which it was not trained on")
    assert temperature_images(replace(materials, dataset=replace(data, train=data.train)))[0] is None


def test_runs_of_earlier_versions_and_damaged_ones(tiny_settings: TinySettings, tmp_path: Path) -> None:
    settings, origins = resolve([Layer(source="test", values=tiny_settings({"retrain.epochs": 1}))])
    run, materials = start_run(tmp_path, settings, origins, Silent(), name="first", subnet="lora:2")
    model = retrain(run, materials, Silent())
    assert read_temperature(run) == (None, temperature_images(materials)[1])
    assert "calibrated" not in evaluate_test(run, materials, Silent())
    assert fitted_temperature(*load_retrained(run, materials), materials, Silent())[0] is None
    run.write_json({key: value for key, value in model.items() if key != "temperature"}, "retrain", "model.json")
    assert read_temperature(run) == (None, EARLIER)
    for damaged in ("hot", {"value": -1}, 3):
        run.write_json(model | {"temperature": damaged}, "retrain", "model.json")
        with pytest.raises(RunError, match="temperature"):
            read_temperature(run)
