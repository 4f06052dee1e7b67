"""The stand-alone training of one finalist, and what came of it (`noah.stages.rerank`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noah.data.augment.augmented_pixels import TrainingPixels
from noah.data.pixels.pixels import Pixels
from noah.data.split import Split
from noah.evaluation.accuracy import Score
from noah.evaluation.kept_tokens import KeptTokens
from noah.evaluation.score import predicted_labels, score
from noah.evaluation.temperature import fit_temperature
from noah.files.packed import pack_images, unpack_images
from noah.model.supernet import Supernet, slice_trainable_state
from noah.nas.outcome import Outcome
from noah.prepare.build import build_supernet, class_weights, load_supernet
from noah.prepare.context import Materials, seed_torch
from noah.prepare.first_blocks import compute_first_blocks
from noah.prepare.held_out import images_of_finalists
from noah.progress import Listener
from noah.runs.folder import Run
from noah.settings.training_settings import RetrainSettings
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.training.checkpoint_file import CHECKPOINT_FILE
from noah.training.divergence import lower_learning_rate
from noah.training.loop import train

_RERANK = 4
"""The second word of this stage's seed. All candidates share the seed, so their images come in the same order and as
little as possible is left to luck."""


@dataclass(frozen=True, slots=True)
class Reranked:
    """A candidate after a short training of its own.

    Args:
        index: The candidate's number in the search.
        subnet: The widths of its modules.
        outcome: The result on all validation images, with the weights of this training.
        losses: The mean training loss of each epoch.
        calibrated: The cross-entropy of the outcome once logits are divided by the temperature that the validation
            images ask for, in nats: how sure of itself the network is does not count. None in files of versions that
            did not measure it.
    """

    index: int
    subnet: Subnet
    outcome: Outcome
    losses: tuple[float, ...]
    calibrated: float | None = None

    @property
    def score(self) -> Score:
        """Accuracy and cross-entropy on the validation images."""
        return self.outcome.score

    def to_json(self) -> dict[str, Any]:
        """The candidate as a line of rerank.jsonl."""
        return {
            "index": self.index,
            "subnet": self.subnet.to_json(),
            **self.score.to_json(),
            "calibrated_cross_entropy": self.calibrated,
            "wrong": pack_images(self.outcome.wrong),
            "losses": list(self.losses),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Reranked:
        """Read what `to_json` gave, or that of an earlier version, which wrote plain numbers."""
        return cls(
            value["index"],
            Subnet.from_json(value["subnet"]),
            Outcome(Score(value["correct"], value["total"], value["cross_entropy"]), unpack_images(value["wrong"])),
            tuple(value["losses"]),
            value.get("calibrated_cross_entropy"),
        )


@dataclass(frozen=True, slots=True)
class FinalMaterial:
    """What all trainings of a final work with.

    Attributes:
        materials: What the run works with.
        pixels: The training images.
        validation: The validation images.
        supernet: The trained supernet, if trainings start from their slices of it; otherwise None.
    """

    materials: Materials
    pixels: TrainingPixels
    validation: Pixels
    supernet: Supernet | None


@dataclass(frozen=True, slots=True)
class FinalTraining:
    """One training of a final.

    Attributes:
        index: The candidate's number in the search.
        subnet: The widths of its modules.
        settings: Of the training.
        place: The folder of its checkpoint below search/rerank/.
    """

    index: int
    subnet: Subnet
    settings: RetrainSettings
    place: tuple[str, ...]

    def checkpoint(self, run: Run) -> Path:
        """The file that the training goes on from."""
        return run.path("search", "rerank", *self.place, CHECKPOINT_FILE)


def read_final(run: Run, materials: Materials, listener: Listener) -> FinalMaterial:
    """Read what a final works with."""
    settings = materials.settings.retrain
    return FinalMaterial(
        materials,
        materials.training_pixels(_final_training(materials, listener), settings.augmentation, listener),
        materials.pixels(materials.dataset.validation, "validation", listener),
        load_supernet(run, materials) if settings.inherit else None,
    )


def _final_training(materials: Materials, listener: Listener) -> Split:
    """The images that finalists learn from, and a word on those that they do not."""
    train, learned = materials.dataset.train, images_of_finalists(materials)
    if len(learned) < len(train):
        listener.say(
            f"finalists learn from {len(learned):,} of {len(train):,} training images: the others are held out from "
            "the winner, which they teach"
        )
    return learned


def train_finalist(
    material: FinalMaterial,
    training: FinalTraining,
    run: Run,
    listener: Listener,
    title: str,
    known: dict[int, KeptTokens],
) -> Reranked:
    """Train and measure one candidate; the training goes on from its checkpoint if there is one.

    Args:
        material: What all trainings of the final work with.
        training: Which of them.
        run: Gets the checkpoint.
        listener: Receives the progress.
        title: What the training is called in a bar.
        known: The tokens of training images that trainings before it computed, as for `compute_first_blocks`.

    Raises:
        TrainingError: If a loss or a logit is not finite.
    """
    materials, settings, subnet = material.materials, training.settings, training.subnet
    seed = (materials.settings.seed, _RERANK)
    seed_torch(*seed)
    model = build_supernet(materials, subnet, settings)
    if material.supernet is not None:
        model.load_trainable_state(slice_trainable_state(material.supernet, subnet))
    kept = compute_first_blocks(model, material.pixels, settings, materials, run, "rerank", listener, known)
    with listener.bar(f"{title}, subnet {training.index}", settings.epochs, "epochs") as bar:
        losses = train(
            model,
            material.pixels,
            materials.backbone.preprocessing,
            lambda *_: (subnet,),
            settings,
            materials.hardware,
            seed=seed,
            checkpoint=training.checkpoint(run),
            bar=bar,
            say=listener.say,
            stage=f"finalist {training.index}",
            remedy="Start a new run with a lower learning rate, such as "
            f"--set retrain.learning_rate={lower_learning_rate(settings.learning_rate)}.",
            class_weights=class_weights(material.pixels, materials),
            kept=kept,
        )
    labels = material.validation.labels
    logits = merged_logits(model.eval(), subnet, material.validation, materials)
    wrong = (predicted_labels(logits) != labels).nonzero()[0]
    outcome = Outcome(score(logits, labels), tuple(wrong.tolist()))
    calibrated = fit_temperature(logits, labels, "the validation images").cross_entropy[1]
    return Reranked(training.index, subnet, outcome, tuple(losses), calibrated)
