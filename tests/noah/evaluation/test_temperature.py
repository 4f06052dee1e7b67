"""A fitted temperature: the most likely one, no prediction changed, and no certainty from a few right images."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import log_loss

from noah.evaluation.score import describe
from noah.evaluation.temperature import LOWEST, Temperature, at_temperature, fit_temperature


def drawn(images: int, heat: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits `heat` times those that the labels were drawn from, float32 (n, 4), and the labels."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 2, (images, 4))
    labels = np.array([rng.choice(4, p=row) for row in softmax(logits, axis=1)])
    return (heat * logits).astype(np.float32), labels


@pytest.mark.parametrize("heat", [0.4, 1.0, 3.0])
def test_it_finds_how_much_too_sure_a_network_is(heat: float) -> None:
    logits, labels = drawn(4000, heat)
    fitted = fit_temperature(logits, labels, "images")
    assert fitted.value == pytest.approx(heat, rel=0.08)
    assert fitted.calibration_error[1] < 0.03
    assert fitted.cross_entropy[0] == pytest.approx(log_loss(labels, softmax(logits.astype(float), axis=1)), rel=1e-6)
    if heat != 1:
        assert fitted.calibration_error[1] < fitted.calibration_error[0] / 3


def test_no_other_temperature_is_more_likely() -> None:
    """But for the prior, which hardly counts against 500 images."""
    logits, labels = drawn(500, 2.5)
    fitted = fit_temperature(logits, labels, "images")
    losses = {
        value: log_loss(labels, softmax(logits.astype(float) / value, axis=1))
        for value in np.exp(np.linspace(-1.5, 2.5, 200))
    }
    assert fitted.value == pytest.approx(min(losses, key=losses.__getitem__), rel=0.05)
    assert fitted.cross_entropy[1] <= min(losses.values()) + 2e-4


@pytest.mark.parametrize("images", [1, 5, 60])
def test_a_few_images_that_are_all_right_do_not_make_it_certain(images: int) -> None:
    logits = np.tile(np.array([[3.0, 0.0, 0.0]], np.float32), (images, 1))
    fitted = fit_temperature(logits, np.zeros(images, np.int64), "images")
    assert 5 * LOWEST < fitted.value < 1


@given(st.integers(0, 1000), st.sampled_from([0.3, 1.0, 6.0]))
def test_no_prediction_changes(seed: int, heat: float) -> None:
    logits, labels = drawn(30, heat, seed)
    fitted = fit_temperature(logits, labels, "images")
    divided = at_temperature(logits, fitted.value)
    assert divided.dtype == np.float32
    np.testing.assert_array_equal(divided.argmax(axis=1), logits.argmax(axis=1))
    assert Temperature.from_json(fitted.to_json()) == fitted


def test_a_test_tells_both() -> None:
    logits, labels = drawn(300, 3.0)
    account = describe(logits, labels, ("a", "b", "c", "d"), 3.0)
    plain, divided = (describe(logits / np.float32(heat), labels, ("a", "b", "c", "d")) for heat in (1, 3))
    assert {key: value for key, value in account.items() if key != "calibrated"} == plain
    assert account["calibrated"] == {
        "temperature": 3.0,
        "cross_entropy": divided["cross_entropy"],
        "calibration_error": divided["calibration_error"],
    }
    assert divided["calibration_error"] < plain["calibration_error"]


@pytest.mark.parametrize("change", [{"value": 0}, {"value": "hot"}, {"images": 0}, {"cross_entropy": [1]}])
def test_what_is_no_temperature_is_refused(change: dict[str, object]) -> None:
    kept = Temperature(2.0, 10, "images", (1.0, 0.5), (0.2, 0.1)).to_json()
    with pytest.raises(ValueError, match=next(iter(change))):
        Temperature.from_json(kept | change)
