"""The comparison of an artifact with its reference: what passes, what does not, and which check says so."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from export.artifact.records import Parity, Tolerance
from export.write.parity import measure_parity, torch_outputs
from noah.errors import ParityError

PIXELS = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1).repeat(3, axis=3)
LOGITS = np.array([[-4, 0, 3], [8, 1, 1], [0, 0.5, 0], [1, 2, 3], [3, 2, 1], [-1, -2, -3], [5, 5.5, 5]], np.float32)
EXACT = Tolerance(max_difference=1e-4, mean_difference=1e-4, other_first_class=0.0)
LOOSE = Tolerance(max_difference=1.0, mean_difference=1.0, other_first_class=0.1)


def measure(wrong: np.ndarray, batches: tuple[int, ...] = (1, 2, 7), **changes: Any) -> Parity:
    """Compare the logits of the images by their number with the same and something added."""
    arguments: dict[str, Any] = {
        "reference": LOGITS,
        "images": "seven images",
        "reference_name": "by hand",
        "method": "run",
        "runs_on": "numpy",
        "values": "logits",
        "tolerance": EXACT,
    } | changes
    reference = arguments.pop("reference")
    return measure_parity(
        lambda pixels: (reference + wrong)[pixels[:, 0, 0, 0]].astype(np.float32),
        reference,
        PIXELS,
        batches=batches,
        **arguments,
    )


def wrong_at(image: int, label: int, by: float) -> np.ndarray:
    wrong = np.zeros_like(LOGITS)
    wrong[image, label] = by
    return wrong


def test_the_same_logits_pass_and_are_recorded() -> None:
    assert measure(np.zeros_like(LOGITS)).model_dump() == {
        "method": "run",
        "runs_on": "numpy",
        "reference": "by hand",
        "images": "seven images",
        "values": "logits",
        "tolerance": {"max_difference": 1e-4, "mean_difference": 1e-4, "other_first_class": 0.0},
        "batches": tuple(
            {
                "batch": batch,
                "max_difference": 0.0,
                "mean_difference": 0.0,
                "max_absolute": 0.0,
                "top1_agreement": 1.0,
            }
            for batch in (1, 2, 7)
        ),
    }


def test_the_difference_of_logits_is_relative_to_the_largest_of_the_batch() -> None:
    parity = measure(wrong_at(0, 1, 2**-14))  # exact in float32
    assert [batch.max_absolute for batch in parity.batches] == [2**-14] * 3
    assert [batch.max_difference for batch in parity.batches] == [2**-14 / 4, 2**-14 / 8, 2**-14 / 8]
    assert [batch.mean_difference for batch in parity.batches] == [2**-14 / 12, 2**-14 / 48, 2**-14 / 168]


def test_the_difference_of_probabilities_is_absolute() -> None:
    probabilities = np.full((7, 3), 0.125, np.float32)
    probabilities[:, 1] = 0.75
    parity = measure(wrong_at(0, 0, 2**-14), reference=probabilities, values="probabilities")
    assert parity.batches[0].max_difference == parity.batches[0].max_absolute == 2**-14


@pytest.mark.parametrize(
    ("by", "passes"), [(0.9e-4 * 4, True), (-0.9e-4 * 4, True), (1.1e-4 * 4, False), (-1.0, False)]
)
def test_the_largest_difference(by: float, passes: bool) -> None:
    wrong = wrong_at(0, 0, by)
    if passes:
        measure(wrong, batches=(1,))
        return
    with pytest.raises(ParityError) as raised:
        measure(wrong, batches=(1,))
    assert raised.value.problem.startswith(
        "The exported model fails the check of the largest difference: at batch 1 its logits are "
    )
    assert "but only 1e-04 is allowed" in raised.value.problem
    assert raised.value.hint.startswith("Nothing was written.")


def test_many_small_differences_are_caught_by_their_mean() -> None:
    drift = np.full_like(LOGITS, 0.01)
    tolerance = Tolerance(max_difference=0.01, mean_difference=1e-3, other_first_class=0.0)
    measure(wrong_at(1, 1, 0.01), tolerance=tolerance)
    with pytest.raises(
        ParityError, match=r"fails the check of the mean difference: at batch 1 .* only 1e-03 is allowed"
    ):
        measure(drift, tolerance=tolerance)


def test_a_batch_that_only_large_ones_get_wrong() -> None:
    with pytest.raises(ParityError, match="at batch 7 "):
        measure(wrong_at(6, 0, 0.01))


def test_a_batch_larger_than_the_images_repeats_them() -> None:
    parity = measure(wrong_at(6, 2, 2**-14), batches=(7, 16))
    assert [batch.batch for batch in parity.batches] == [7, 16]
    assert parity.batches[0].mean_difference == 2**-14 / 8 / 21
    assert parity.batches[1].mean_difference == pytest.approx(2 * 2**-14 / 8 / 48, rel=1e-12)  # image 6 came twice


def test_another_first_class_is_refused_even_inside_the_tolerance() -> None:
    close = LOGITS.copy()
    close[1, 1:] = 8, 8.0001
    with pytest.raises(ParityError) as raised:
        measure(wrong_at(1, 1, 0.0002), (2,), reference=close)
    assert "fails the top-1 check: at batch 2 it predicts another class for 50.0%" in raised.value.problem
    assert "but only 0.0% is allowed" in raised.value.problem


def test_of_few_images_one_may_have_another_first_class_in_half_precision() -> None:
    one = wrong_at(6, 0, 1.0)
    parity = measure(one, tolerance=LOOSE)
    assert parity.batches[2].top1_agreement == pytest.approx(6 / 7)
    with pytest.raises(
        ParityError, match=r"top-1 check: at batch 7 .* 28\.6% of the images, but only 14\.3% is allowed"
    ):
        measure(one + wrong_at(2, 0, 0.6), tolerance=LOOSE)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite(value: float) -> None:
    with pytest.raises(ParityError, match="fails the value check: some outputs are not finite"):
        measure(wrong_at(5, 2, value))


def test_outputs_of_another_shape() -> None:
    with pytest.raises(ParityError, match=r"fails the shape check: it gives \(7, 2\), not \(7, 3\)"):
        measure_parity(
            lambda pixels: LOGITS[pixels[:, 0, 0, 0], :2],
            LOGITS,
            PIXELS,
            images="i",
            reference_name="r",
            method="run",
            runs_on="numpy",
            values="logits",
            tolerance=EXACT,
            batches=(7,),
        )


@pytest.mark.parametrize("probabilities", [False, True])
def test_torch_outputs_are_float32_without_gradients(probabilities: bool) -> None:
    layer = torch.nn.Linear(3, 2, dtype=torch.float64)
    outputs = torch_outputs(
        lambda images: layer(images.double().mean(dim=(2, 3))),
        np.ones((4, 3, 2, 2), np.float32),
        probabilities=probabilities,
    )
    assert (outputs.dtype, outputs.shape) == (np.float32, (4, 2))
    assert np.allclose(outputs.sum(axis=1), 1) == probabilities
