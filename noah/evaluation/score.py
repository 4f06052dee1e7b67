"""How accurate a network is on some images, and how certain that figure is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from noah.data.pixels.pixels import Pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.pixels.to_inputs import to_images
from noah.evaluation.accuracy import Score
from noah.evaluation.kept_tokens import KeptTokens
from noah.evaluation.temperature import at_temperature, calibration_error
from noah.hardware.device import Hardware
from noah.progress import Bar

Logits = NDArray[np.float32]


@torch.inference_mode()
def compute_logits(
    model: Callable[[Tensor], Tensor],
    pixels: Pixels | KeptTokens,
    preprocessing: Preprocessing,
    hardware: Hardware,
    batch_size: int,
    bar: Bar | None = None,
    chosen: NDArray[np.int64] | None = None,
) -> Logits:
    """Compute float32 logits (n, classes) of all images in order, or of the chosen ones.

    Args:
        model: Maps normalized images (B, 3, H, W), or kept tokens (B, N, D), to logits (B, classes); must be in
            evaluation mode.
        pixels: The images to evaluate, or their tokens behind the first blocks.
        preprocessing: Gives mean and standard deviation for normalizing the images.
        hardware: Gives device and precision.
        batch_size: How many images go through the model at once.
        bar: Updated with the number of images done.
        chosen: Indices of the images, in the order wanted; all images if None.
    """
    batches = []
    chosen = np.arange(len(pixels)) if chosen is None else chosen
    for start in range(0, len(chosen), batch_size):
        indices = chosen[start : start + batch_size]
        if isinstance(pixels, KeptTokens):
            inputs = pixels.fetch(indices)
        else:
            inputs = to_images(pixels.fetch(indices), preprocessing, hardware.device)
        with hardware.autocast():
            batches.append(model(inputs).float().cpu().numpy())
        if bar:
            bar.update(start + len(indices))
    return np.concatenate(batches)


def finite_rows(logits: Logits) -> NDArray[np.bool_]:
    """Mark the images whose logits (n, classes) are all finite, bool (n,); the others have no predicted label."""
    finite: NDArray[np.bool_] = np.all(np.isfinite(logits), axis=1)
    return finite


def predicted_labels(logits: Logits) -> NDArray[np.int64]:
    """The label with the largest logit of each image, int64 (n,), from logits (n, classes)."""
    predicted: NDArray[np.int64] = torch.from_numpy(logits).argmax(dim=1).numpy()
    return predicted


def score(logits: Logits, labels: NDArray[np.int64]) -> Score:
    """Score logits (n, classes) against labels (n); an image counts as wrong if any of its logits is not finite."""
    values, targets, finite = torch.from_numpy(logits).double(), torch.from_numpy(labels), finite_rows(logits)
    return Score(
        correct=int(((predicted_labels(logits) == labels) & finite).sum()),
        total=len(labels),
        cross_entropy=float(F.cross_entropy(values, targets)) if finite.all() else math.inf,
    )


def describe(
    logits: Logits, labels: NDArray[np.int64], classes: tuple[str, ...], temperature: float | None = None
) -> dict[str, Any]:
    """Report a test in full: score, top-5 accuracy, accuracy of each class, calibration error, confusions.

    With a temperature (`noah.evaluation.temperature`), `calibrated` holds cross-entropy and calibration error of the
    logits divided by it.

    Top-5 accuracy is left out if there are at most five classes; a class without images has the accuracy None. The
    confusion matrix keeps only its nonzero entries, as [true label, predicted label, images]. There are never more of
    these than images, whereas the full matrix of a thousand classes has a million.
    """
    count, predicted = len(classes), predicted_labels(logits)
    right = predicted == labels
    images, hits = (np.bincount(some, minlength=count) for some in (labels, labels[right]))
    account = score(logits, labels).to_json()
    if count > 5:
        best_five = torch.from_numpy(logits).topk(5).indices.numpy()
        account["top5_accuracy"] = float((best_five == labels[:, None]).any(axis=1).mean())
    account["calibration_error"] = calibration_error(logits, labels)
    if temperature is not None:
        divided = at_temperature(logits, temperature)
        account["calibrated"] = {
            "temperature": temperature,
            "cross_entropy": score(divided, labels).to_json()["cross_entropy"],
            "calibration_error": calibration_error(divided, labels),
        }
    account["class_accuracy"] = {
        name: float(hits[label] / images[label]) if images[label] else None for label, name in enumerate(classes)
    }
    pairs, counts = np.unique(np.stack([labels, predicted], axis=1), axis=0, return_counts=True)
    account["confusions"] = np.column_stack([pairs, counts]).tolist()
    return account
