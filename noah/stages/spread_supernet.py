"""A supernet's training by several processes of a cluster together, each with its share of every batch."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from noah.cluster.reports import Report
from noah.cluster.session import Cluster
from noah.cluster.shared import Shared, share
from noah.cluster.together import Rank, work_together
from noah.data.augment.augmented_pixels import AugmentedPixels, TrainingPixels
from noah.files.atomic import write_bytes
from noah.hardware.device import set_up
from noah.hardware.processes import launched_processes, leave
from noah.prepare.context import Materials
from noah.progress import Bar, Listener
from noah.runs.folder import Run
from noah.settings.training_settings import SupernetSettings
from noah.stages.spread_final import without_data
from noah.stages.spread_search import resources_for, without_files
from noah.stages.supernet_epochs import TITLE, train_epochs, untrained_supernet
from noah.training.checkpoint_file import CHECKPOINT_FILE


def choose_trainers(materials: Materials, settings: SupernetSettings, cluster: Cluster | None) -> tuple[int, str]:
    """Choose how many processes train the supernet together, and say why.

    Args:
        materials: Give the settings and the device.
        settings: Give the batch size: no process can have less than an image of a batch.
        cluster: Where they would run; None leaves it to the processes of this command.
    """
    if cluster is None:
        return materials.hardware.processes.count, "the processes of this command"
    asked = materials.settings.hardware.trainers
    gpus = int(cluster.gpus()) if materials.hardware.device.type == "cuda" else 0
    if asked is not None:
        count, reason = asked, "as set"
    elif gpus > 1:
        count, reason = gpus, "one for each GPU; they share every batch"
    else:
        return 1, "the cluster has not several GPUs"
    if count > settings.batch_size:
        return settings.batch_size, f"{count} would be more than a batch has images"
    return count, reason


def spread_epochs(
    cluster: Cluster,
    count: int,
    run: Run,
    materials: Materials,
    settings: SupernetSettings,
    pixels: TrainingPixels,
    listener: Listener,
    bar: Bar,
    seconds_left: Callable[[], float | None],
) -> list[float]:
    """Train the supernet in several processes of a cluster; the run gets the checkpoint of each epoch.

    If a process or a machine dies, all go on from the last checkpoint. The steps are those of `train_epochs` by as many
    processes that a launcher started; the sums of their gradients may differ from those of one in the last digits.

    Args:
        cluster: The machines.
        count: How many processes.
        run: Has the checkpoint to go on from, if there is one.
        materials: What the run works with.
        settings: With the number of epochs that were planned.
        pixels: The training images, which travel to every machine once if they are in memory.
        listener: Told where they run, and of those that die.
        bar: Updated with the number of finished epochs.
        seconds_left: The time that is left for the training; None for all that it takes.

    Returns:
        The mean loss of each epoch.
    """
    kept = run.path("supernet", CHECKPOINT_FILE)
    sent = pixels if isinstance(pixels, AugmentedPixels) else without_files(pixels)
    shared = share(cluster, (without_data(materials), settings, sent))

    def work() -> Callable[[Rank], list[float]]:
        return partial(_train, shared, kept.read_bytes() if kept.is_file() else None, seconds_left())

    def told(report: Report) -> None:
        if report.kept is not None:
            write_bytes(kept, report.kept)
        elif report.done is not None:
            bar.update(report.done, report.text.removeprefix(TITLE).strip(", "), report.detail)
        else:
            listener.say(report.text)

    return work_together(
        cluster,
        count,
        work,
        listener,
        resources=resources_for(materials.hardware),
        told=told,
        what="training processes",
    )


def _train(
    shared: Shared[tuple[Materials, SupernetSettings, TrainingPixels]],
    stored: bytes | None,
    seconds: float | None,
    rank: Rank,
) -> list[float]:
    """Train in one of the processes, in a folder of its machine that is gone afterwards."""
    ends = None if seconds is None else time.monotonic() + seconds
    sent, settings, pixels = shared.get(own=True)
    materials = replace(sent, hardware=replace(sent.hardware, processes=launched_processes()))
    set_up(materials.hardware)
    with tempfile.TemporaryDirectory(prefix="noah-supernet-") as folder:
        run = Run(Path(folder), materials.hardware.processes.is_first)
        checkpoint = run.path("supernet", CHECKPOINT_FILE)
        if stored is not None:
            write_bytes(checkpoint, stored)

        def enough() -> bool:
            rank.keep(checkpoint.read_bytes())
            return ends is not None and time.monotonic() > ends

        supernet = untrained_supernet(materials, settings)
        with rank.listener.bar(TITLE, settings.epochs, "epochs") as bar:
            losses = train_epochs(run, materials, supernet, settings, pixels, rank.listener, bar, enough)
    leave()
    return losses
