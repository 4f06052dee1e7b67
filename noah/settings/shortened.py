"""The same training in fewer epochs."""

from __future__ import annotations

from typing import TypeVar

from noah.settings.training_settings import TrainingSettings

Training = TypeVar("Training", bound=TrainingSettings)


def shortened(settings: Training, epochs: int) -> Training:
    """The settings with another number of epochs, of which the warm-up keeps its share.

    Args:
        settings: Of either training.
        epochs: At least one.
    """
    if epochs < 1:
        raise ValueError(f"a training of {epochs} epochs trains nothing")
    warmup_epochs = settings.warmup_epochs * epochs / settings.epochs
    return settings.model_copy(update={"epochs": epochs, "warmup_epochs": warmup_epochs})
