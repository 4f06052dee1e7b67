"""The trainings of a final on the machines of a cluster: each is a task, which gives back its checkpoint, too."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from noah.cluster.session import Cluster
from noah.cluster.shared import Shared, share
from noah.cluster.tasks import Task, run_tasks
from noah.data.augment.augmented_pixels import AugmentedPixels
from noah.data.split import ArraySplit, Split
from noah.errors import DataError
from noah.files.atomic import write_bytes
from noah.hardware.device import set_up
from noah.hardware.processes import Processes
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.runs.folder import Run
from noah.stages.finalist import FinalMaterial, FinalTraining, Reranked, train_finalist
from noah.stages.spread_search import resources_for, without_files


def spread_trainings(
    cluster: Cluster,
    material: FinalMaterial,
    trainings: Sequence[FinalTraining],
    run: Run,
    listener: Listener,
    title: str,
) -> Iterator[Reranked]:
    """Train finalists on all machines, and give the results in the order of the trainings.

    A training whose machine dies begins again on another one, from what this machine has of it.

    Args:
        cluster: The machines.
        material: What the trainings work with.
        trainings: Which they are.
        run: Has the checkpoints that they go on from, and gets those that they end with.
        listener: Receives the progress.
        title: What they are called in a bar.

    Raises:
        TrainingError: If a loss or a logit of one of them is not finite.
    """
    shared = share(cluster, _to_send(material))
    resources = resources_for(material.materials.hardware)
    tasks = [
        Task(f"finalist {each.index}", partial(_train, shared, each, _stored(each.checkpoint(run))), resources)
        for each in trainings
    ]
    known: dict[str, tuple[Reranked, bytes]] = {}
    given = 0
    outcomes = run_tasks(cluster, tasks, listener, title=title, unit="finalists")
    with closing(outcomes):
        for outcome in outcomes:
            if outcome.value is None:
                raise outcome.error or AssertionError(outcome.name)
            known[outcome.name] = outcome.value
            while given < len(tasks) and tasks[given].name in known:
                reranked, checkpoint = known.pop(tasks[given].name)
                write_bytes(trainings[given].checkpoint(run), checkpoint)
                given += 1
                yield reranked


def _train(
    shared: Shared[FinalMaterial], training: FinalTraining, stored: bytes | None, listener: Listener
) -> tuple[Reranked, bytes]:
    """Train a finalist in a folder of this machine that is gone afterwards; gives its checkpoint, too."""
    material = shared.get(own=True)
    set_up(material.materials.hardware)
    with tempfile.TemporaryDirectory(prefix="noah-finalist-") as folder:
        run = Run(Path(folder))
        path = training.checkpoint(run)
        if stored is not None:
            write_bytes(path, stored)
        reranked = train_finalist(material, training, run, listener, "training", {})
        return reranked, path.read_bytes()


def _stored(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def without_data(materials: Materials) -> Materials:
    """The same without its datasets and whatever else a training does not look at, for a single process."""
    nothing = ArraySplit(np.empty((0, 1, 1), np.uint8), np.empty(0, np.int64), "none")
    dataset = replace(
        materials.dataset, train=nothing, validation=nothing, retrain=None, load_test=_no_test, seen=frozenset()
    )
    hardware = replace(materials.hardware, processes=Processes())
    return replace(materials, dataset=dataset, hardware=hardware, read=(), as_loaded=None)


def _to_send(material: FinalMaterial) -> FinalMaterial:
    """The same without files and whatever else a training does not look at."""
    pixels = material.pixels
    return FinalMaterial(
        without_data(material.materials),
        pixels.in_one_process() if isinstance(pixels, AugmentedPixels) else without_files(pixels),
        without_files(material.validation),
        material.supernet,
    )


def _no_test() -> Split:
    raise DataError("A finalist is never tested.", "Test the run: noah eval.")
