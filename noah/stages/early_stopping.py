"""Ends the final training once the loss on held-out images rises, and goes back to the best epoch.

After each epoch the subnet's merged network is measured on the images to stop by (`retrain.hold_out`). Once their
cross-entropy has not fallen for `retrain.patience` epochs the training ends, and whether or not it ended early, the
weights are those of the epoch with the lowest.
"""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noah.data.pixels.pixels import Pixels
from noah.evaluation.score import score
from noah.files.jsonl import append_line, read_lines
from noah.model.supernet import Supernet
from noah.prepare.context import Materials
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.training.checkpoint import load_weights, read_checkpoint

_LOSSES, _BEST = "held_out_losses.jsonl", "best.safetensors"


def forget(checkpoint: Path) -> None:
    """Remove what a training kept beside its checkpoint, which is gone: the next one begins with nothing seen."""
    for name in (_LOSSES, _BEST):
        checkpoint.with_name(name).unlink(missing_ok=True)


@dataclass(frozen=True, slots=True, eq=False)
class EarlyStopping:
    """Watches a training; what it has seen is in files, so that a training that is resumed ends where it would have.

    Attributes:
        checkpoint: The training's checkpoint, which holds the epoch that has just ended.
        model: The supernet that is trained.
        subnet: What is trained of it.
        stopping: The held-out images.
        materials: What the run works with.
        patience: Epochs without a new lowest loss after which the training ends.
    """

    checkpoint: Path
    model: Supernet
    subnet: Subnet
    stopping: Pixels
    materials: Materials
    patience: int

    @property
    def losses(self) -> list[float]:
        """The cross-entropy on the held-out images after each epoch so far."""
        return [float(line["loss"]) for line in read_lines(self.checkpoint.with_name(_LOSSES))]

    @property
    def best(self) -> int:
        """The epoch with the lowest loss, counted from 1."""
        losses = self.losses
        return 1 + losses.index(min(losses))

    @property
    def is_over(self) -> bool:
        """Whether the training has ended, early or not."""
        seen = len(self.losses)
        return seen > 0 and (seen - self.best >= self.patience or seen >= self.materials.settings.retrain.epochs)

    def measure(self) -> bool:
        """Measure the epoch that has just ended, keep its weights if it is the best, and say whether to stop.

        The weights are kept before the loss is, so that a process which dies in between measures again.
        """
        logits = merged_logits(self.model.eval(), self.subnet, self.stopping, self.materials)
        loss = score(logits, self.stopping.labels).cross_entropy
        if loss < min(self.losses, default=math.inf):
            shutil.copyfile(self.checkpoint, self.checkpoint.with_name(_BEST))
        append_line(self.checkpoint.with_name(_LOSSES), {"loss": loss})
        return self.is_over

    def resume(self) -> bool:
        """Measure the last epoch of a stopped training, if that was not done any more; say whether it is over."""
        if self.checkpoint.exists() and not self.is_over:
            stored = read_checkpoint(self.checkpoint)
            if len(stored.losses) > len(self.losses):
                load_weights(stored, self.model)
                self.measure()
        return self.is_over

    def go_back(self) -> list[float]:
        """Put the weights of the best epoch into the checkpoint; give the training losses up to there."""
        shutil.copyfile(self.checkpoint.with_name(_BEST), self.checkpoint)
        return list(read_checkpoint(self.checkpoint).losses)

    def to_json(self) -> dict[str, Any]:
        """What is kept of it in retrain/model.json."""
        return {"best_epoch": self.best, "epochs": len(self.losses), "held_out_losses": self.losses}
