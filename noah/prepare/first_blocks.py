"""Whether the first blocks of a training are computed once for all epochs, where no module and no chance is in them."""

from __future__ import annotations

from pathlib import Path

from noah.data.augment.augmented_pixels import TrainingPixels
from noah.data.pixels.pixels import Pixels
from noah.evaluation.kept_tokens import KeptTokens, keep_tokens
from noah.hardware.bf16_weights import frozen_weights_held
from noah.hardware.choice import Choice
from noah.model.supernet import Supernet
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.runs.folder import Run
from noah.settings.training_settings import TrainingSettings
from noah.training.loop import stays_the_same


def compute_first_blocks(
    supernet: Supernet,
    pixels: TrainingPixels,
    settings: TrainingSettings,
    materials: Materials,
    run: Run,
    stage: str,
    listener: Listener,
    known: dict[int, KeptTokens] | None = None,
) -> KeptTokens | None:
    """Compute the tokens of all training images behind the first blocks, where that saves work, and say and log so.

    They are the same in every epoch where no module is in these blocks, images are not augmented, and no block is left
    out at random. On a CPU the training then takes the same steps to the bit as without.

    Args:
        supernet: The supernet about to be trained.
        pixels: The training images.
        settings: Of the training.
        materials: What the run works with.
        run: Gets the choice in its log, and a file for tokens that do not fit into memory.
        stage: The name of the training in the log.
        listener: Receives the progress, and the choice with its reason if there is any.
        known: The tokens that earlier trainings on the same images computed, by number of blocks; these are used, and
            those that are computed now are added, whatever the number of epochs.
    """
    processes = materials.hardware.processes.count if known is None else 0
    blocks, reason = choose_blocks(supernet, settings, processes)
    if not reason:
        return None
    if known is not None and blocks in known:
        return known[blocks]
    kept = None
    if blocks and isinstance(pixels, Pixels):
        kept = keep_first_blocks(supernet, blocks, pixels, settings, materials, run.folder, listener)
        reason = f"{reason}; {kept.where}" if kept else "neither memory nor disk has room for their tokens"
    if kept is not None and known is not None:
        known[blocks] = kept
    depth = supernet.largest.depth
    often = "epochs" if known is None else "trainings without modules there"
    value = f"the first {blocks} of {depth} once for all {often}" if kept else f"all {depth} in every epoch"
    choice = Choice("blocks", value, reason)
    listener.say(f"{choice.what:<10}{choice.value} ({choice.reason})")
    run.log(stage, "first blocks", choice=choice.value, reason=choice.reason)
    return kept


def choose_blocks(supernet: Supernet, settings: TrainingSettings, processes: int) -> tuple[int, str]:
    """Choose how many blocks are computed once for all epochs, and say why; 0 and nothing if there is no choice.

    Args:
        supernet: The supernet about to be trained.
        settings: Of the training.
        processes: How many processes each compute all images, which takes as long as so many epochs.
    """
    bare = supernet.largest.bare_blocks
    if not bare:
        return 0, ""
    blocks = next((count for count in range(bare, 0, -1) if stays_the_same(supernet, settings.augmentation, count)), 0)
    if not blocks:
        return 0, f"no module is in the first {bare}, but images are augmented"
    if settings.epochs <= processes:
        return 0, f"no module is in the first {bare}, but epochs are too few to gain by it"
    random = "; later ones are left out at random" if blocks < bare else ""
    return blocks, f"no module is in them{random}"


def keep_first_blocks(
    supernet: Supernet,
    blocks: int,
    pixels: Pixels,
    settings: TrainingSettings,
    materials: Materials,
    folder: Path | None,
    listener: Listener,
) -> KeptTokens | None:
    """Compute the tokens behind so many blocks; None if there is no room for them in memory or in the folder."""
    held = frozen_weights_held(supernet, materials.hardware)
    with held, listener.bar("computing the first blocks", len(pixels), "images") as bar:
        return keep_tokens(
            lambda images: supernet.bare_tokens(images, blocks),
            blocks,
            pixels,
            materials.backbone.preprocessing,
            materials.hardware,
            settings.batch_size,
            folder=folder,
            bar=bar,
        )
