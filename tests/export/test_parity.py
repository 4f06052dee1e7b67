"""The proof of an artefact: what passes, what does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.parity import MAX_RELATIVE, batch_sizes, measure_parity, torch_logits
from noah.errors import ParityError

PIXELS = np.arange(7, dtype=np.uint8).reshape(7, 1, 1, 1).repeat(3, axis=3)
LOGITS = np.array([[-4, 0, 3], [8, 1, 1], [0, 0.5, 0], [1, 2, 3], [3, 2, 1], [-1, -2, -3], [5, 5.5, 5]], np.float32)


def reference(pixels: np.ndarray) -> np.ndarray:
    """The logits of the images by their number."""
    return LOGITS[pixels[:, 0, 0, 0]]


def measure(wrong: np.ndarray, batches: tuple[int, ...] = (1, 2, 7)) -> object:
    """Compare the reference with itself and something added."""
    return measure_parity(
        lambda pixels: (reference(pixels) + wrong[pixels[:, 0, 0, 0]]).astype(np.float32),
        reference,
        PIXELS,
        images="seven images",
        reference_name="by hand",
        precision="fp32",
        batches=batches,
    )


def wrong_at(image: int, label: int, by: float) -> np.ndarray:
    wrong = np.zeros_like(LOGITS)
    wrong[image, label] = by
    return wrong


def test_the_same_logits_pass_and_are_recorded() -> None:
    parity = measure(np.zeros_like(LOGITS))
    assert parity.model_dump() == {
        "reference": "by hand",
        "images": "seven images",
        "batches": tuple(
            {"batch": batch, "max_relative": 0.0, "max_absolute": 0.0, "top1_agreement": 1.0} for batch in (1, 2, 7)
        ),
        "tolerance": 1e-4,
    }


def test_the_difference_is_relative_to_the_largest_logit_of_the_batch() -> None:
    parity = measure(wrong_at(0, 1, 2**-14))  # exact in float32
    assert [batch.max_absolute for batch in parity.batches] == [2**-14] * 3
    assert [batch.max_relative for batch in parity.batches] == [2**-14 / 4, 2**-14 / 8, 2**-14 / 8]


@pytest.mark.parametrize(
    ("by", "passes"), [(0.9e-4 * 4, True), (-0.9e-4 * 4, True), (1.1e-4 * 4, False), (-1.0, False)]
)
def test_the_tolerance(by: float, passes: bool) -> None:
    wrong = wrong_at(0, 0, by)
    if passes:
        measure(wrong, batches=(1,))
        return
    with pytest.raises(ParityError) as raised:
        measure(wrong, batches=(1,))
    assert raised.value.problem.startswith("The exported model does not agree with the searched one: at batch 1 ")
    assert "and 1e-04 is allowed" in raised.value.problem
    assert raised.value.hint.startswith("Nothing was written.")


def test_a_batch_that_only_large_ones_get_wrong() -> None:
    with pytest.raises(ParityError, match="at batch 7 "):
        measure(wrong_at(6, 0, 0.01))


def test_another_first_class_is_refused_even_inside_the_tolerance() -> None:
    close = LOGITS.copy()
    close[1, 1:] = 8, 8.0001
    tiny = wrong_at(1, 1, 0.0002)
    with pytest.raises(ParityError, match=r"at batch 2 it puts another class first for 50\.0% of the images"):
        measure_parity(
            lambda pixels: close[pixels[:, 0, 0, 0]] + tiny[pixels[:, 0, 0, 0]],
            lambda pixels: close[pixels[:, 0, 0, 0]],
            PIXELS,
            images="i",
            reference_name="r",
            precision="fp32",
            batches=(2,),
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_outputs_that_are_not_finite(value: float) -> None:
    with pytest.raises(ParityError, match="not finite"):
        measure(wrong_at(5, 2, value))


def test_outputs_of_another_shape() -> None:
    with pytest.raises(ParityError, match=r"gives outputs \(7, 2\), not \(7, 3\)"):
        measure_parity(
            lambda pixels: reference(pixels)[:, :2],
            reference,
            PIXELS,
            images="i",
            reference_name="r",
            precision="fp32",
            batches=(7,),
        )


@pytest.mark.parametrize(
    ("images", "expected"), [(1, (1,)), (2, (1, 2)), (3, (1, 2, 3)), (32, (1, 2, 32)), (1000, (1, 2, 32))]
)
def test_batch_sizes(images: int, expected: tuple[int, ...]) -> None:
    assert batch_sizes(images, 32) == expected


def test_every_tolerance_is_above_float_rounding_and_below_a_class() -> None:
    assert all(np.finfo(np.float32).eps < tolerance < 0.1 for tolerance in MAX_RELATIVE.values())


def test_torch_logits_are_float32_without_gradients() -> None:
    layer = torch.nn.Linear(3, 2, dtype=torch.float64)
    logits = torch_logits(lambda images: layer(images.double().mean(dim=(2, 3))), np.ones((4, 3, 2, 2), np.float32))
    assert (logits.dtype, logits.shape) == (np.float32, (4, 2))
