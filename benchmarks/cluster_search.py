"""What a look at a candidate costs on a cluster, and how well a search fills many workers (`benchmarks.cluster`)."""

from __future__ import annotations

import heapq
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from noah.nas.loop import work
from noah.nas.race import Race, Task
from noah.nas.racing import Look, Rules, look_at
from noah.nas.storage import journal_storage
from noah.nas.study import Entry, SearchStudy
from noah.nas.worker import this_worker
from noah.settings.settings import EvolutionSettings
from noah.space.budget import parameter_budget
from noah.space.search_space import make_space
from noah.space.subnet import Subnet

IMAGES, CLASSES = 200, 10
IMAGES_A_SECOND = 64.7
"""What a candidate of the space `paper` is shown by two cores in float32 (ViT-S/14 at 98 px, docs/performance.md)."""
SPACE = make_space(12, 384, {"prompt": (5, 10), "lora": (4, 8), "adapter": (4, 8)}, (3, 6, 9, 12))


def answers(subnet: Subnet, images: np.ndarray) -> Look:
    """Drawn answers to validation images; some images are hard for all subnets, and some subnets better than others."""
    difficulty = np.random.default_rng(1).normal(0, 2, IMAGES)
    labels = np.random.default_rng(2).integers(CLASSES, size=IMAGES)
    rng = np.random.default_rng([3, *(width for kind in SPACE.modules for width in subnet.widths(kind))])
    values = rng.normal(0, 1, (IMAGES, CLASSES))
    values[np.arange(IMAGES), labels] += rng.normal(2.5, 0.5) - difficulty
    return look_at(images, labels[images], values[images].astype(np.float32))


def task(generations: int) -> Task:
    """A search with the settings that a search has unless others are named, but for the number of generations."""
    settings = EvolutionSettings(generations=generations - 1)
    rules = Rules("exact", IMAGES, settings.top, 8, 64)
    return Task(SPACE, parameter_budget(400_000, SPACE.embed_dim), settings, (0, 2), rules, lambda _: 0)


def rounds(generations: int) -> list[list[float]]:
    """Seconds of each look of each round of a search on drawn answers."""
    entries: dict[int, Entry] = {}
    race, found = Race(task(generations)), list[list[float]]()
    while True:
        race.follow(entries)
        if race.over:
            return found
        entries |= {each.index: Entry(each.index, each) for each in race.wanted}
        if race.wanted:
            continue
        found.append([len(images) / IMAGES_A_SECOND for images in race.asked.values()])
        for entry in race.missing(entries):
            look = answers(entry.proposal.subnet, race.asked[entry.proposal.index])
            entries[entry.proposal.index] = replace(entry, looks=(*entry.looks, look))


def round_seconds(durations: Sequence[float], workers: int, overhead: float, record: float) -> float:
    """Seconds of a round: a worker that is done waits until the driver has written that down and has time for it.

    Args:
        durations: Seconds of each look, in the order in which they are given out.
        workers: The number of workers.
        overhead: Seconds that a look costs besides, at its worker.
        record: Seconds that the driver takes for each look, one after the other.
    """
    left = list(durations)
    ends = [overhead + left.pop(0) for _ in range(min(workers, len(left)))]
    heapq.heapify(ends)
    driver = 0.0
    while ends:
        driver = max(driver, heapq.heappop(ends)) + record
        if left:
            heapq.heappush(ends, driver + overhead + left.pop(0))
    return driver


def efficiency(found: Sequence[Sequence[float]], workers: int, overhead: float, record: float) -> float:
    """The share of the workers' time that is work, if each round begins when all of the one before it is written down.

    Args:
        found: What `rounds` gave.
        workers: As for `round_seconds`, like the others.
        overhead: Seconds.
        record: Seconds.
    """
    whole = sum(round_seconds(each, workers, overhead, record) for each in found)
    return sum(map(sum, found)) / (workers * whole)


def record_milliseconds() -> float:
    """What the driver takes for a look besides, in a search of one generation, by the time of all that is no answer."""
    looks, seconds = 0, 0.0

    def show(subnet: Subnet, images: np.ndarray) -> Look:
        nonlocal looks, seconds
        begun = time.perf_counter()
        look = answers(subnet, images)
        seconds += time.perf_counter() - begun
        looks += 1
        return look

    with tempfile.TemporaryDirectory() as folder:
        searched = task(1)
        study = SearchStudy(journal_storage(Path(folder) / "journal.log"), "search", searched.space, searched.settings)
        begun = time.perf_counter()
        work(
            study, searched, show, this_worker(), show_all=lambda asks: ((i, show(*ask)) for i, ask in enumerate(asks))
        )
        return 1000 * (time.perf_counter() - begun - seconds) / looks


def ready() -> Callable[[int], int]:
    """Make the function that a process of the cluster answers with."""
    return same


def same(number: int) -> int:
    """An answer without work."""
    return number
