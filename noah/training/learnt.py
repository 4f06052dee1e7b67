"""Whether a training has learnt anything: its loss beside that of guessing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from noah.settings.training_settings import TrainingSettings
from noah.training.divergence import lower_learning_rate

_SHARE = 0.98
"""Of the loss of guessing: a training that ends above that has hardly learnt."""


def guessing_loss(labels: NDArray[np.int64]) -> float:
    """The lowest mean cross-entropy of one prediction for all images, in nats: the entropy of the classes' shares."""
    shares = np.bincount(labels) / len(labels)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def doubt(what: str, loss: float, labels: NDArray[np.int64], stage: str, settings: TrainingSettings) -> str:
    """A warning where a training has hardly learnt, else nothing.

    Where labels are smoothed or mixed nothing is told: the loss is high then, whatever was learnt.

    Args:
        what: Was trained, at the beginning of a sentence.
        loss: Mean cross-entropy of the last epoch, in nats.
        labels: int64 (n,), of the training images.
        stage: Of the settings.
        settings: Of the training.
    """
    guessing = guessing_loss(labels)
    vague = settings.label_smoothing or settings.augmentation.mixup or settings.augmentation.cutmix
    if vague or guessing == 0 or loss <= _SHARE * guessing:
        return ""
    rate = lower_learning_rate(settings.learning_rate)
    return (
        f"{what} has hardly learnt: its loss is {loss:.3f} at the end, and that of guessing is {guessing:.3f}. What "
        f"follows from it is chance. In a new run, try --set {stage}.learning_rate={rate} or more epochs."
    )
