"""Notices a training that has gone wrong or learned nothing, before it wastes more time or is kept as if it were good.

A loss that is not finite is easy to see. But weights and AdamW's moments can be ruined while every loss is finite: no
loss follows an epoch's last step, no loss covers widths that have not been drawn since, and if the second moment of a
weight overflows to infinity, every further step of that weight is zero.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from noah.errors import TrainingError
from noah.hardware.device import Hardware
from noah.model.supernet import Supernet
from noah.progress import first_of
from noah.settings.training_settings import TrainingSettings

LOOK_EVERY = 20
"""How many steps pass between two checks of the losses: on a GPU, a check has to wait for the device."""
_LOWER_RATE = 1e-4
"""The learning rate to suggest, unless a tenth of the one in use is lower."""
_NAMED = 3


class StepLosses:
    """The losses of an epoch's steps, checked every few steps and after the last.

    Args:
        epoch: The number of the epoch, counted from 1.
        steps: The number of steps in the epoch.
        hardware: Gives device, precision and processes; the processes check together.
        remedy: What to do about a learning rate that is too high, in one sentence.
    """

    def __init__(self, epoch: int, steps: int, hardware: Hardware, remedy: str) -> None:
        self._losses = torch.zeros(steps, device=hardware.device)
        self._epoch, self._hardware, self._remedy = epoch, hardware, remedy
        self._added = self._looked = 0

    def add(self, loss: Tensor) -> None:
        """Add this process's part of the next step's loss.

        Raises:
            TrainingError: If it, or an earlier one that has not been checked yet, is not finite.
            ProcessError: If another process has stopped.
        """
        self._losses[self._added] = loss
        self._added += 1
        if self._added - self._looked == LOOK_EVERY or self._added == len(self._losses):
            self._look()

    def _look(self) -> None:
        losses = self._losses[self._looked : self._added]
        self._hardware.processes.add_up([losses])
        bad = (~torch.isfinite(losses)).nonzero().flatten().tolist()
        if bad:
            step, loss = self._looked + bad[0], losses[bad[0]].item()
            self._hardware.processes.of_first(lambda: self._refuse(step, loss))
        self._looked = self._added

    def _refuse(self, step: int, loss: float) -> NoReturn:
        told = f"The training loss is {loss} at step {step + 1} of {len(self._losses)} in epoch {self._epoch}"
        if (self._epoch, step) == (1, 0):
            told = f"{told}, before anything was learned"
            remedy = "The backbone does not take these images: check its weights, mean and std."
        else:
            remedy = self._remedy
        raise TrainingError(f"{told}.", _advice(self._hardware, self._epoch, remedy))


def check_state(supernet: Supernet, optimizer: Optimizer, epoch: int, hardware: Hardware, remedy: str) -> None:
    """Refuse to keep weights that are not finite, or that would never change again.

    Args:
        supernet: The supernet after the epoch.
        optimizer: AdamW, with its moments for the supernet's weights.
        epoch: The number of the epoch, counted from 1.
        hardware: Gives the precision.
        remedy: What to do about a learning rate that is too high, in one sentence.

    Raises:
        TrainingError: If there are any; it names the first ones.
    """
    trained = {name: value for name, value in supernet.named_parameters() if value.requires_grad}
    broken = [name for name, value in trained.items() if not torch.isfinite(value).all()]
    if broken:
        raise TrainingError(
            f"Weights are not finite at the end of epoch {epoch}: {first_of(broken, _NAMED)}.",
            _advice(hardware, epoch, remedy),
        )
    stuck = [
        name
        for name, value in trained.items()
        if not all(torch.isfinite(moment).all() for moment in optimizer.state.get(value, {}).values())
    ]
    if stuck:
        raise TrainingError(
            f"Gradients are so large in epoch {epoch} that AdamW's averages of their squares overflow, after which "
            f"these weights learn no more: {first_of(stuck, _NAMED)}. A learning rate that is too high does that, or "
            "a backbone whose own outputs are this large.",
            _advice(hardware, epoch, remedy),
        )


def lower_learning_rate(learning_rate: float) -> str:
    """Suggest a learning rate instead of one that was too high, spelled as the user would type it."""
    return np.format_float_scientific(min(learning_rate / 10, _LOWER_RATE), precision=2, trim="-", exp_digits=1)


def _advice(hardware: Hardware, epoch: int, remedy: str) -> str:
    if hardware.precision == "fp32":
        return remedy
    goes_on = "goes on from the last good epoch" if epoch > 1 else "starts over"
    return f"Try --precision fp32 first: with --resume it {goes_on}. {remedy}"


_HARDLY_LEARNED = 0.98
"""A training whose loss ends above this share of the loss of guessing has hardly learned anything."""
_ORDERS = 4
"""How many random orders of the images are used to find the mean share of a weighted class in a batch."""


def guessing_loss(labels: NDArray[np.int64], class_weights: Tensor | None = None, batch_size: int = 64) -> float:
    """The lowest mean training loss, in nats, of the same prediction for all images: the entropy of the class shares.

    With class weights, the loss of a batch is divided by the batch's own weights, so a class has another share of the
    loss in each batch, and its mean share counts. That depends a little on which images are in a batch together, so it
    is taken from a few random orders.

    Args:
        labels: int64, (n,).
        class_weights: The weight of each class in the loss, (classes).
        batch_size: The number of images per step; it matters only if classes are weighted.
    """
    if class_weights is None:
        shares = np.bincount(labels) / len(labels)
    else:
        shares = _weighted_shares(labels, class_weights.double().cpu().numpy(), batch_size)
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())


def _weighted_shares(labels: NDArray[np.int64], weights: NDArray[np.float64], batch_size: int) -> NDArray[np.float64]:
    """The mean share of each class in the loss of a batch, (classes)."""
    rng, total = np.random.default_rng(0), np.zeros(len(weights))
    for _ in range(_ORDERS):
        order = rng.permutation(labels)
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            weighed = np.bincount(batch, minlength=len(weights)) * weights
            total += len(batch) * weighed / weighed.sum()
    shares: NDArray[np.float64] = total / (_ORDERS * len(labels))
    return shares


def doubt(
    what: str,
    loss: float,
    labels: NDArray[np.int64],
    stage: str,
    settings: TrainingSettings,
    class_weights: Tensor | None = None,
) -> str:
    """Warn if a training has hardly learned anything; otherwise the text is empty.

    If labels are smoothed or mixed there is no warning, because the loss is then high whatever was learned.

    Args:
        what: What was trained, as the beginning of a sentence.
        loss: The mean cross-entropy of the last epoch, in nats.
        labels: The labels of the training images, int64, (n,).
        stage: The section of the settings, such as "supernet".
        settings: The settings of the training.
        class_weights: The class weights in the loss, (classes); guessing is weighted in the same way.
    """
    guessing = guessing_loss(labels, class_weights, settings.batch_size)
    vague = settings.label_smoothing or settings.augmentation.mixup or settings.augmentation.cutmix
    if vague or guessing == 0 or loss <= _HARDLY_LEARNED * guessing:
        return ""
    rate = lower_learning_rate(settings.learning_rate)
    return (
        f"{what} has hardly learned: its loss is {loss:.3f} at the end, and that of guessing is {guessing:.3f}. "
        "Results below this line are no better than guessing. "
        f"In a new run, try --set {stage}.learning_rate={rate} or more epochs."
    )
