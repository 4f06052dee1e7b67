"""The epochs of a supernet's training, the same wherever they are computed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from noah.data.augment.augmented_pixels import TrainingPixels
from noah.model.supernet import Supernet
from noah.prepare.build import build_supernet, class_weights
from noah.prepare.context import Materials, seed_torch
from noah.prepare.first_blocks import compute_first_blocks
from noah.progress import Bar, Listener
from noah.runs.folder import Run
from noah.settings.training_settings import SupernetSettings
from noah.training.checkpoint_file import CHECKPOINT_FILE
from noah.training.divergence import lower_learning_rate
from noah.training.loop import train
from noah.training.subnet_draws import draw_subnets

TITLE = "training the supernet"
"""What its bar is called."""
_SUPERNET = 1
"""The second word of this stage's seed, which no other stage uses."""


def untrained_supernet(materials: Materials, settings: SupernetSettings) -> Supernet:
    """The supernet of a run before its training."""
    seed_torch(materials.settings.seed, _SUPERNET)
    return build_supernet(materials, materials.space.largest, settings)


def train_epochs(
    run: Run,
    materials: Materials,
    supernet: Supernet,
    settings: SupernetSettings,
    pixels: TrainingPixels,
    listener: Listener,
    bar: Bar,
    enough: Callable[[], bool],
) -> list[float]:
    """Train what `untrained_supernet` gave, in place, or go on from the run's checkpoint.

    Args:
        run: Has the checkpoint, gets one after every epoch, and the tokens of the first blocks.
        materials: What the run works with; gives the processes that train together, too.
        supernet: What to train.
        settings: With the number of epochs that were planned.
        pixels: The training images.
        listener: Told of choices and of steps that do not fit into memory.
        bar: Updated with the number of finished epochs.
        enough: Asked after every epoch whether to stop, in the first process only.

    Returns:
        The mean loss of each epoch.

    Raises:
        TrainingError: If a loss or weight is not finite.
    """
    seed = (materials.settings.seed, _SUPERNET)
    lower = lower_learning_rate(settings.learning_rate)
    return train(
        supernet,
        pixels,
        materials.backbone.preprocessing,
        partial(draw_subnets, materials.space, settings, seed),
        settings,
        materials.hardware,
        seed=seed,
        checkpoint=run.path("supernet", CHECKPOINT_FILE),
        bar=bar,
        say=listener.say,
        stage="supernet",
        remedy=f"Start a new run with a lower learning rate, such as --set supernet.learning_rate={lower}.",
        class_weights=class_weights(pixels, materials),
        kept=compute_first_blocks(supernet, pixels, settings, materials, run, "supernet", listener),
        enough=enough,
    )
