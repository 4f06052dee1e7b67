"""Charts of training losses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noah_cli.report.charts.drawing import ACCENT, ADAPTER, Drawing, count_axis, draw
from noah_cli.report.trained import Training

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_training(name: str, what: str, training: Training) -> Drawing:
    """Draw the mean training loss of each epoch.

    Args:
        name: Name of the figure's files.
        what: What was trained, such as "the supernet".
        training: Its losses and its number of epochs.
    """
    losses = training.losses
    begun = "" if training.finished else f" {training.epochs:,} are planned."
    caption = "Mean cross-entropy of each epoch, in nats, on the training images."
    if training.sampling == "sandwich":
        caption += (
            " Each step trains the largest subnet, the smallest and some random ones; this is the loss of the largest."
        )
    elif training.sampling:
        caption += " Each step trains another subnet, so this is the mean loss of many subnets."
    return draw(
        name,
        f"Training loss of {what}",
        description=f"{len(losses):,} epochs; the loss goes from {losses[0]:.3f} to {losses[-1]:.3f}.{begun}",
        caption=caption,
        height=2.7,
        paint=lambda figure: _paint(figure, training, ACCENT if name == "supernet" else ADAPTER),
    )


def _paint(figure: Figure, training: Training, color: str) -> None:
    axes = figure.add_subplot()
    losses = training.losses
    epochs = range(1, len(losses) + 1)
    marker = "o" if len(losses) <= 30 else ""
    axes.plot(epochs, losses, color=color, linewidth=2, marker=marker, markersize=4.5, clip_on=False)
    axes.fill_between(epochs, 0, losses, color=color, alpha=0.1, linewidth=0)
    axes.set_xlim(1 if len(losses) > 1 else 0.5, max(training.epochs, 2) if training.epochs > 1 else 1.5)
    axes.set_ylim(0, max(losses) * 1.08 or 1)
    axes.set_xlabel("epoch")
    axes.set_ylabel("loss, nats")
    count_axis(axes, "x")
    axes.grid(axis="x", visible=False)
    axes.annotate(
        f"{losses[-1]:.3f}",
        (len(losses), losses[-1]),
        textcoords="offset points",
        xytext=(-4, 9),
        ha="right",
        fontsize=9.5,
        fontweight="bold",
    )
