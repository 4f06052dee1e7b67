"""How good a network is on some images, and how sure that figure is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from noah.data.pixels.pixels import Pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.pixels.to_inputs import to_images
from noah.hardware.device import Hardware
from noah.progress import Bar

Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Score:
    """Top-1 accuracy with its cross-entropy.

    Args:
        correct: Images whose largest logit is the label's.
        total: Images.
        cross_entropy: Mean over the images, in nats; infinite where a logit is not finite.
    """

    correct: int
    total: int
    cross_entropy: float

    @property
    def accuracy(self) -> float:
        """Share of correct images, 0..1."""
        return self.correct / self.total

    @property
    def standard_error(self) -> float:
        """Binomial standard error of the accuracy, sqrt(p (1 - p) / n)."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.total)

    def __str__(self) -> str:
        return f"{self.accuracy:.1%} ± {self.standard_error:.1%}"

    def to_json(self) -> dict[str, Any]:
        """The score as written to files; JSON has no infinity, so a cross-entropy that is not finite becomes None."""
        return {
            "correct": self.correct,
            "total": self.total,
            "accuracy": self.accuracy,
            "standard_error": self.standard_error,
            "cross_entropy": self.cross_entropy if math.isfinite(self.cross_entropy) else None,
        }


@torch.inference_mode()
def compute_logits(
    model: Callable[[Tensor], Tensor],
    pixels: Pixels,
    preprocessing: Preprocessing,
    hardware: Hardware,
    batch_size: int,
    bar: Bar | None = None,
    chosen: NDArray[np.int64] | None = None,
) -> Logits:
    """Logits float32 (n, classes) of every image, in order, or of those that are chosen.

    Args:
        model: Maps normalized images (B, 3, H, W) to logits (B, classes), in evaluation mode.
        pixels: The images.
        preprocessing: Their normalization.
        hardware: Device and precision.
        batch_size: Images at a time.
        bar: Told the number of images that are done.
        chosen: Indices of the images, in the order wanted; all if not given.
    """
    batches = []
    chosen = np.arange(len(pixels)) if chosen is None else chosen
    for start in range(0, len(chosen), batch_size):
        indices = chosen[start : start + batch_size]
        images = to_images(pixels.fetch(indices), preprocessing, hardware.device)
        with hardware.autocast():
            batches.append(model(images).float().cpu().numpy())
        if bar:
            bar.update(start + len(indices))
    return np.concatenate(batches)


def finite_rows(logits: Logits) -> NDArray[np.bool_]:
    """Which images have logits (n, classes) that are all finite: bool (n,). Of others no label can be told."""
    finite: NDArray[np.bool_] = np.all(np.isfinite(logits), axis=1)
    return finite


def predicted_labels(logits: Logits) -> NDArray[np.int64]:
    """The label of the largest of each image's logits (n, classes): int64 (n,)."""
    predicted: NDArray[np.int64] = torch.from_numpy(logits).argmax(dim=1).numpy()
    return predicted


def score(logits: Logits, labels: NDArray[np.int64]) -> Score:
    """Score logits (n, classes) against labels (n); an image with a logit that is not finite counts as wrong."""
    values, targets, finite = torch.from_numpy(logits).double(), torch.from_numpy(labels), finite_rows(logits)
    return Score(
        correct=int(((predicted_labels(logits) == labels) & finite).sum()),
        total=len(labels),
        cross_entropy=float(F.cross_entropy(values, targets)) if finite.all() else math.inf,
    )


def describe(logits: Logits, labels: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, Any]:
    """The full account of a test: score, top-5, accuracy of each class, calibration error, confusions.

    Top-5 is left out where there are no more than five classes, and a class without images has the accuracy None. Of
    the confusion matrix only what is not zero is kept, as [true label, predicted label, images]: no more entries than
    images, where the matrix of a thousand classes has a million.
    """
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

    values, targets = torch.from_numpy(logits), torch.from_numpy(labels)
    count, predicted = len(classes), predicted_labels(logits)
    images, right = (np.bincount(some, minlength=count) for some in (labels, labels[predicted == labels]))
    account = score(logits, labels).to_json()
    if count > 5:
        account["top5_accuracy"] = float(
            multiclass_accuracy(values, targets, num_classes=count, top_k=5, average="micro")
        )
    # Logits that all lie between 0 and 1 would be taken for probabilities.
    probabilities = values.softmax(dim=1)
    account["calibration_error"] = float(
        multiclass_calibration_error(probabilities, targets, num_classes=count, n_bins=15)
    )
    account["class_accuracy"] = {
        name: float(right[label] / images[label]) if images[label] else None for label, name in enumerate(classes)
    }
    pairs, counts = np.unique(np.stack([labels, predicted], axis=1), axis=0, return_counts=True)
    account["confusions"] = np.column_stack([pairs, counts]).tolist()
    return account
