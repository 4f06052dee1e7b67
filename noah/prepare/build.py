"""Builds supernets as the settings of a run describe them, and the class weights for their training."""

from __future__ import annotations

from torch import Tensor

from noah.data.augment.augmented_pixels import TrainingPixels
from noah.model.supernet import Supernet
from noah.prepare.context import Materials
from noah.runs.folder import Run
from noah.settings.training_settings import TrainingSettings
from noah.space.subnet import Subnet
from noah.training.checkpoint import load_weights, read_checkpoint
from noah.training.checkpoint_file import CHECKPOINT_FILE
from noah.training.loss import balanced_weights


def build_supernet(materials: Materials, largest: Subnet, training: TrainingSettings) -> Supernet:
    """Build a supernet with fresh modules and a fresh head, initialized from torch's global generator.

    Args:
        materials: Gives the backbone and the number of classes.
        largest: The largest width of each module, block by block.
        training: The settings of its training, which include dropout and drop-path.
    """
    return Supernet(
        materials.backbone.model,
        largest,
        num_classes=len(materials.dataset.classes),
        dropout=training.dropout,
        drop_path=training.drop_path,
        prompt_dropout_per_image=training.prompt_dropout == "per_image",
        strengths=materials.settings.space.strengths,
        activation_checkpointing=training.activation_checkpointing,
    )


def load_supernet(run: Run, materials: Materials) -> Supernet:
    """Load the trained supernet of a run, in evaluation mode.

    Raises:
        RunError: If its checkpoint is missing or damaged.
    """
    supernet = build_supernet(materials, materials.space.largest, materials.settings.supernet)
    load_weights(read_checkpoint(run.path("supernet", CHECKPOINT_FILE)), supernet)
    return supernet.eval()


def class_weights(pixels: TrainingPixels, materials: Materials) -> Tensor | None:
    """The weight of each class in the loss, (classes); None if the settings do not ask for class weights."""
    if materials.settings.data.class_weights == "none":
        return None
    return balanced_weights(pixels.labels, len(materials.dataset.classes))
