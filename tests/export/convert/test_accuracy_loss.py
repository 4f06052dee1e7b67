"""How near an 8-bit file has to be, and how two files are told apart whose accuracies are the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from scipy.special import log_softmax

from export.convert.accuracy_loss import AccuracyLoss, divergence, log_probabilities


@pytest.mark.parametrize(
    ("lost", "agreeing", "allowed", "no_concern"),
    [
        (0, 400, True, True),
        (1, 399, True, True),
        (2, 398, True, False),  # half a point
        (3, 397, False, False),
        (0, 396, True, True),
        (0, 395, True, False),  # as accurate by chance
        (-9, 391, True, False),
    ],
)
def test_a_quarter_of_a_point_is_no_concern_if_the_classes_stay(
    lost: int, agreeing: int, allowed: bool, no_concern: bool
) -> None:
    loss = AccuracyLoss("images", 400, 380 - lost, 380, agreeing, 0.01)
    assert (loss.is_allowed, loss.is_no_concern) == (allowed, no_concern)


@given(st.integers(0, 2**32 - 1), st.floats(0.01, 3))
def test_the_divergence_is_zero_only_where_nothing_changed_and_grows_with_the_change(seed: int, size: float) -> None:
    rng = np.random.default_rng(seed)
    logits, change = rng.normal(size=(2, 5, 4))
    expected = log_softmax(logits, axis=1)
    near, far = (log_softmax(logits + factor * change, axis=1) for factor in (size, 2 * size))
    assert divergence(expected, expected) == 0
    assert 0 < divergence(near, expected) < divergence(far, expected)


def test_the_divergence_of_two_classes_by_hand() -> None:
    found, expected = np.log([[0.5, 0.5]]), np.log([[0.8, 0.2]])
    assert divergence(found, expected) == pytest.approx(0.8 * np.log(0.8 / 0.5) + 0.2 * np.log(0.2 / 0.5))


@pytest.mark.parametrize("output", ["logits", "probabilities"])
def test_files_of_logits_and_of_probabilities_say_the_same(output: str, tmp_path: Path) -> None:
    """A probability of 0 stays finite."""
    operator = "Identity" if output == "logits" else "Softmax"
    shape = ["batch", 3]
    graph = helper.make_graph(
        [helper.make_node(operator, ["images"], [output])],
        "scores",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)],
    )
    file = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), file)
    logits = np.array([[1, 2, 3], [0, -4, 1], [500, 0, 0]], np.float32)
    found = log_probabilities(file, [logits[:2], logits[2:]])
    assert found[:2] == pytest.approx(log_softmax(logits[:2].astype(float), axis=1), abs=1e-5)
    assert np.isfinite(found).all() and found[2, 0] == pytest.approx(0, abs=1e-6)
