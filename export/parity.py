"""The proof that an artefact is the model that it was made from: the same logits on real images."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from export.manifest import Parity, ParityBatch
from noah.errors import ParityError

MAX_RELATIVE = {"fp32": 1e-4}
"""Largest allowed difference by precision, relative to the largest logit of the batch."""

_REPORT = "Nothing was written. Please report this with the backbone's name."

Logits = NDArray[np.float32]
Pixels = NDArray[np.uint8]


def measure_parity(
    artefact: Callable[[Pixels], Logits],
    reference: Callable[[Pixels], Logits],
    pixels: Pixels,
    *,
    images: str,
    reference_name: str,
    precision: str,
    batches: Sequence[int],
) -> Parity:
    """Compare an artefact with its reference at several batch sizes.

    Args:
        artefact: From pixels to the artefact's logits, by the way in which people will run it.
        reference: From the same pixels to the logits of the unmerged network.
        pixels: Real images, uint8 (N, H, W, 3).
        images: What these images are, for the manifest.
        reference_name: What the reference is, for the manifest.
        precision: Selects the tolerance.
        batches: Batch sizes, each at most N; a batch holds the first images.

    Raises:
        ParityError: If any batch differs by more than the tolerance, or in its first class.
    """
    tolerance = MAX_RELATIVE[precision]
    measured = [_compare(artefact(pixels[:size]), reference(pixels[:size])) for size in batches]
    for size, batch in zip(batches, measured, strict=True):
        if not np.isfinite(batch.max_relative) or batch.max_relative > tolerance:
            raise ParityError(
                f"The exported model does not agree with the searched one: at batch {size} its logits differ by "
                f"{batch.max_relative:.1e} of the largest, and {tolerance:.0e} is allowed.",
                _REPORT,
            )
        if batch.top1_agreement < 1:
            raise ParityError(
                f"The exported model does not agree with the searched one: at batch {size} it puts another class first "
                f"for {1 - batch.top1_agreement:.1%} of the images.",
                _REPORT,
            )
    return Parity(reference=reference_name, images=images, batches=tuple(measured), tolerance=tolerance)


def batch_sizes(images: int, largest: int) -> tuple[int, ...]:
    """1, 2 and the largest batch that there are images for."""
    return tuple(sorted({min(size, images) for size in (1, 2, largest)}))


def torch_logits(model: Callable[[torch.Tensor], torch.Tensor], images: NDArray[np.float32]) -> Logits:
    """Logits of a torch network on normalised images (B, 3, H, W), computed in float32."""
    with torch.inference_mode():
        logits: Logits = model(torch.from_numpy(images)).float().numpy()
    return logits


def _compare(found: Logits, expected: Logits) -> ParityBatch:
    if found.shape != expected.shape:
        raise ParityError(f"The exported model gives outputs {found.shape}, not {expected.shape}.", _REPORT)
    difference = float(np.abs(found.astype(np.float64) - expected).max())
    if not np.isfinite(difference):
        raise ParityError("The exported model gives outputs that are not finite.", _REPORT)
    return ParityBatch(
        batch=len(expected),
        max_relative=difference / float(np.abs(expected).max()),
        max_absolute=difference,
        top1_agreement=float((found.argmax(axis=1) == expected.argmax(axis=1)).mean()),
    )
