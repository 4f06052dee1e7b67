"""A search on the machines of a cluster: their processes hold the supernet and the validation images, and answer.

The driver alone decides who is shown which images, and alone writes to the run; so its folder has to be seen by no
other machine, and the candidates are those of a search by one process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from noah.cluster.crew import crew
from noah.cluster.resources import Resources
from noah.cluster.session import Cluster
from noah.cluster.shared import Shared, share
from noah.data.pixels.device_pixels import place
from noah.data.pixels.pixels import Pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import ArraySplit
from noah.evaluation.kept_tokens import KeptTokens
from noah.hardware.device import Hardware, set_up
from noah.hardware.processes import Processes
from noah.model.supernet import Supernet
from noah.nas.candidate_evaluation import candidate_logits, showing
from noah.nas.loop import ShowAll
from noah.nas.racing import Look
from noah.progress import Listener
from noah.space.subnet import Subnet

Question = tuple[Subnet, NDArray[np.int64]]
"""A subnet, and the indices of the images that it is shown, int64, (m)."""


@dataclass(frozen=True, slots=True)
class _Held:
    """What every process needs to evaluate candidates; the arguments of `candidate_logits`."""

    supernet: Supernet
    validation: Pixels
    preprocessing: Preprocessing
    hardware: Hardware
    batch_size: int
    tokens: KeptTokens | None


@contextmanager
def spread_candidates(
    cluster: Cluster,
    supernet: Supernet,
    validation: Pixels,
    preprocessing: Preprocessing,
    hardware: Hardware,
    batch_size: int,
    tokens: KeptTokens | None,
    listener: Listener,
) -> Iterator[ShowAll]:
    """Start processes on all machines of a cluster that evaluate candidates, until the `with` block ends.

    Each computes with as many threads as this process, because their number may change the last digits of a result.

    Args:
        cluster: The machines.
        supernet: The trained supernet, in evaluation mode.
        validation: The validation images. Those that are not in memory are read from their files by every machine.
        preprocessing: Gives mean and standard deviation for normalizing the images.
        hardware: Gives device, precision and threads.
        batch_size: The most images that go through a network at once.
        tokens: What `validation_tokens` returned.
        listener: Told how many processes there are, and of those that die.
    """
    alone = replace(hardware, processes=Processes())
    held = _Held(supernet, without_files(validation), preprocessing, alone, batch_size, tokens)
    if not validation.in_memory:
        listener.say("note      The validation images are read from their files by every machine that evaluates.")
    prepare = partial(_prepare, share(cluster, held))
    with crew(
        cluster, prepare, listener, resources=resources_for(hardware), topic=_subnet, what="evaluating processes"
    ) as members:
        yield members.answers


def resources_for(hardware: Hardware) -> Resources:
    """What a process asks for that computes as this one does: a core for each thread, or a GPU."""
    return Resources(1, 1) if hardware.device.type == "cuda" else Resources(hardware.threads)


def without_files(pixels: Pixels) -> Pixels:
    """The same images without what they were read from, if they are in memory."""
    if pixels.memory is None:
        return pixels
    split = ArraySplit(pixels.memory, pixels.labels, "image")
    return Pixels(split, pixels.preprocessing, pixels.memory, pixels.reason)


def _prepare(shared: Shared[_Held]) -> Callable[[Question], Look]:
    """Make the function that evaluates in one of the processes."""
    held = shared.get()
    set_up(held.hardware)
    validation = place(held.validation, held.hardware.device)
    ask = candidate_logits(held.supernet, validation, held.preprocessing, held.hardware, held.batch_size, held.tokens)
    show = showing(ask, validation.labels)
    return lambda question: show(*question)


def _subnet(question: Question) -> Subnet:
    return question[0]
