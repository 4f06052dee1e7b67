"""What the finalists of a search know together, as labels for the final training of its winner.

Modules of different kinds err on different images, so the mean of the finalists' predictions is better than each of
them. A network that learns from such a mean keeps part of the gain (Hinton, Vinyals, Dean, 2015, arXiv 1503.02531) and
costs no more than one that learned from the labels. The finalists were trained without the validation images, so what
they say about these is no memory.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from noah.data.pixels.pixels import Pixels
from noah.data.split import Split
from noah.errors import RunError
from noah.evaluation.score import Logits
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.runs.folder import Run
from noah.stages.finalist import Reranked
from noah.stages.merged_logits import merged_logits
from noah.stages.rerank import last_rung, read_finalists
from noah.training.checkpoint import load_weights, read_checkpoint
from noah.training.checkpoint_file import CHECKPOINT_FILE


@dataclass(frozen=True, slots=True)
class Taught:
    """Labels that teachers helped to make.

    Attributes:
        shares: Of the classes for each image, float32 (n, classes); each row sums to 1.
        teachers: Numbers of the finalists in their search.
    """

    shares: NDArray[np.float32]
    teachers: tuple[int, ...]


def taught_labels(run: Run, materials: Materials, split: Split, listener: Listener) -> Taught | None:
    """Mix the labels of the final training with the mean prediction of the finalists, as `retrain.teachers` says.

    Args:
        run: Its search holds the finalists.
        materials: What the run works with.
        split: The images of the final training.
        listener: Is told who teaches, or why nobody does.

    Returns:
        The mixed labels; None without teachers.
    """
    settings = materials.settings.retrain
    if settings.teachers == "none":
        return None
    finalists = last_rung(read_finalists(run))
    if len(finalists) < 2:
        listener.say("teachers  none (the run has no final of several subnets; the labels alone teach)")
        return None
    share, heat = settings.teacher_share, settings.teacher_temperature
    listener.say(
        f"teachers  {len(finalists)} finalists of the search (their mean prediction at temperature {heat:g} makes "
        f"{share:.0%} of each label)"
    )
    pixels = materials.pixels(split, "training", listener)
    with listener.bar("asking the finalists", len(finalists), "finalists") as bar:
        shares = []
        for asked, finalist in enumerate(finalists, start=1):
            shares.append(softened(_logits(run, materials, finalist, pixels), heat))
            bar.update(asked)
    return Taught(mixed_labels(pixels.labels, shares, share), tuple(finalist.index for finalist in finalists))


def mixed_labels(
    labels: NDArray[np.int64], predictions: Sequence[NDArray[np.float32]], share: float
) -> NDArray[np.float32]:
    """Mix labels with the mean of predictions.

    Args:
        labels: Of each image, (n).
        predictions: Of each teacher, shares of the classes (n, classes).
        share: What the predictions count.

    Returns:
        Shares of the classes, (n, classes).
    """
    mean = np.mean(predictions, axis=0, dtype=np.float32)
    certain = np.eye(mean.shape[1], dtype=np.float32)[labels]
    return ((1 - share) * certain + share * mean).astype(np.float32)


def softened(logits: Logits, temperature: float) -> NDArray[np.float32]:
    """The softmax of logits (n, classes) that were divided by a temperature: the higher, the flatter."""
    shares: NDArray[np.float32] = (torch.from_numpy(logits) / temperature).softmax(dim=1).numpy()
    return shares


def _logits(run: Run, materials: Materials, finalist: Reranked, pixels: Pixels) -> Logits:
    model = build_supernet(materials, finalist.subnet, materials.settings.retrain)
    checkpoint = run.path("search", "rerank", str(finalist.index), CHECKPOINT_FILE)
    try:
        load_weights(read_checkpoint(checkpoint), model)
    except RunError as error:
        winner = shlex.quote(str(run.path("search", "best.json")))
        fresh = " --set retrain.inherit=false" if materials.settings.retrain.inherit else ""
        raise RunError(
            error.problem,
            f"Train the winner from the labels alone, in a new run: noah retrain --subnet {winner} --run {run.option} "
            f"--set retrain.teachers=none{fresh}",
        ) from error
    return merged_logits(model.eval(), finalist.subnet, pixels, materials)
