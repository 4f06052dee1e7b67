"""Checks that an artifact gives the same outputs on real images as the model that it was made from."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from export.artifact.records import Parity, ParityBatch, Tolerance
from noah.errors import ParityError

_REPORT = "Nothing was written. Please report this with the backbone's name."

Outputs = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def measure_parity(
    artifact: Callable[[Pixels], Outputs],
    reference: Outputs,
    pixels: Pixels,
    *,
    images: str,
    reference_name: str,
    method: Literal["run", "simulated"],
    runs_on: str,
    values: Literal["logits", "probabilities"],
    tolerance: Tolerance,
    batches: Sequence[int],
) -> Parity:
    """Compare an artifact with its reference at several batch sizes.

    Args:
        artifact: Runs the artifact on pixels, the way people will run it.
        reference: Outputs (N, classes) of the unmerged network for `pixels`.
        pixels: Real images, uint8 (N, H, W, 3).
        images: Describes these images, for the manifest.
        reference_name: Describes the reference, for the manifest.
        method: Whether the artifact itself was run, or a graph that rounds as it would.
        runs_on: The provider or device that ran it, for the manifest.
        values: Whether the outputs are logits or probabilities.
        tolerance: The largest differences that pass.
        batches: Batch sizes; a batch holds the first images, repeated if there are too few.

    Raises:
        ParityError: If any batch differs by more than the tolerance; names the check that failed.
    """
    measured = []
    for size in batches:
        chosen = np.arange(size) % len(pixels)
        measured.append(compare_outputs(artifact(pixels[chosen]), reference[chosen], values))
        check_outputs(measured[-1], min(size, len(pixels)), tolerance, values)
    return Parity(
        method=method,
        runs_on=runs_on,
        reference=reference_name,
        images=images,
        values=values,
        tolerance=tolerance,
        batches=tuple(measured),
    )


def torch_outputs(
    model: Callable[[torch.Tensor], torch.Tensor],
    images: NDArray[np.float32],
    *,
    probabilities: bool = False,
    temperature: float = 1.0,
) -> Outputs:
    """Run a torch network in float32 on normalized images (B, 3, H, W); probabilities are at the temperature."""
    with torch.inference_mode():
        logits = model(torch.from_numpy(images)).float()
        outputs: Outputs = ((logits / temperature).softmax(dim=1) if probabilities else logits).numpy()
    return outputs


def compare_outputs(found: Outputs, expected: Outputs, values: Literal["logits", "probabilities"]) -> ParityBatch:
    """Measure how far the outputs of one batch, (N, classes), are from those expected.

    Raises:
        ParityError: If the shapes differ, or a difference is not finite.
    """
    if found.shape != expected.shape:
        raise ParityError(
            f"The exported model fails the shape check: it gives {found.shape}, not {expected.shape}.", _REPORT
        )
    difference = np.abs(found.astype(np.float64) - expected)
    if not np.isfinite(difference).all():
        raise ParityError("The exported model fails the value check: some outputs are not finite.", _REPORT)
    unit = float(np.abs(expected).max()) if values == "logits" else 1.0
    return ParityBatch(
        batch=len(expected),
        max_difference=float(difference.max()) / unit,
        mean_difference=float(difference.mean()) / unit,
        max_absolute=float(difference.max()),
        top1_agreement=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
    )


def check_outputs(batch: ParityBatch, distinct: int, tolerance: Tolerance, values: str) -> None:
    """Check that a batch, of which so many images are distinct, is within a tolerance.

    Raises:
        ParityError: If it is not; names the check.
    """
    unit = " of the largest" if values == "logits" else ""
    for check, difference, allowed in (
        ("largest difference", batch.max_difference, tolerance.max_difference),
        ("mean difference", batch.mean_difference, tolerance.mean_difference),
    ):
        if difference > allowed:
            raise ParityError(
                f"The exported model fails the check of the {check}: at batch {batch.batch} its {values} are "
                f"{difference:.1e}{unit} away from the searched model's, but only {allowed:.0e} is allowed.",
                _REPORT,
            )
    # With few images, a share would allow not even one to differ, and one near tie does not prove a fault.
    allowed_share = max(tolerance.other_first_class, 1 / distinct) if tolerance.other_first_class else 0.0
    if 1 - batch.top1_agreement > allowed_share + math.ulp(1.0):
        raise ParityError(
            f"The exported model fails the top-1 check: at batch {batch.batch} it predicts another class "
            f"for {1 - batch.top1_agreement:.1%} of the images, but only {allowed_share:.1%} is allowed.",
            _REPORT,
        )
