"""Searches of a small space, with answers to validation images that need no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.storages import BaseStorage, InMemoryStorage

from noah.nas.candidate import Candidate
from noah.nas.evolution import needed_exactly
from noah.nas.loop import work
from noah.nas.outcome import Outcome
from noah.nas.race import Task
from noah.nas.racing import Look, Rules, look_at, outcome_of
from noah.nas.study import SearchStudy
from noah.nas.worker import Worker, this_worker
from noah.settings.settings import EvolutionSettings
from noah.space.budget import Budget, ParameterCost, parameter_budget
from noah.space.kinds import PUBLISHED
from noah.space.search_space import SearchSpace, make_space
from noah.space.subnet import Subnet

SPACE = make_space(4, 8, {"prompt": (1, 2, 5), "lora": (1, 3), "adapter": (2, 4)}, (2, 3, 4))
BUDGET = parameter_budget(600, SPACE.embed_dim)
SETTINGS = EvolutionSettings(generations=3, population=8, parents=3, mutations=3, crossovers=3, top=4)


@dataclass(frozen=True)
class Answers:
    """What every subnet answers to each of some images: arbitrary, and the same for the same subnet.

    Coarse answers are right or wrong with the same logits everywhere, so that many subnets tie in everything.
    """

    images: int = 40
    classes: int = 3
    seed: int = 0
    coarse: bool = False

    @property
    def labels(self) -> NDArray[np.int64]:
        return np.random.default_rng([self.seed, 1]).integers(self.classes, size=self.images)

    def logits(self, subnet: Subnet) -> NDArray[np.float32]:
        genes = [width for module in PUBLISHED for width in subnet.widths(module)]
        rng = np.random.default_rng([self.seed, 2, *genes])
        difficulty = np.random.default_rng([self.seed, 3]).normal(0, 2, self.images)
        values = rng.normal(0, 1, (self.images, self.classes))
        values[np.arange(self.images), self.labels] += rng.normal(2, 1) - difficulty
        return (np.sign(values) if self.coarse else values).astype(np.float32)

    def show(self, subnet: Subnet, images: NDArray[np.int64]) -> Look:
        assert len(images)  # no network takes a batch of none
        return look_at(images, self.labels[images], self.logits(subnet)[images])

    def outcome(self, subnet: Subnet) -> Outcome:
        """Of a full evaluation."""
        return outcome_of([self.show(subnet, np.arange(self.images))], self.images)


def make_task(
    settings: EvolutionSettings = SETTINGS,
    *,
    space: SearchSpace = SPACE,
    budget: Budget = BUDGET,
    seed: tuple[int, ...] = (0, 2),
    images: int = 40,
    top: int | None = None,
    smallest_batch: int = 3,
    batch_size: int = 16,
) -> Task:
    rule = "off" if settings.sampler == "published" else settings.racing
    cost: Callable[[Subnet], float] = ParameterCost(space.embed_dim)
    if settings.objective == "accuracy":
        cost = _nothing
    rules = Rules(rule, images, top or needed_exactly(settings), smallest_batch, batch_size)
    return Task(space, budget, settings, seed, rules, cost)


def _nothing(subnet: Subnet) -> float:
    return 0


def make_study(task: Task, storage: BaseStorage | None = None) -> SearchStudy:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return SearchStudy(storage or InMemoryStorage(), "search", task.space, task.settings)


def run_search(
    task: Task,
    show: Callable[[Subnet, NDArray[np.int64]], Look] | None = None,
    *,
    study: SearchStudy | None = None,
    worker: Worker | None = None,
    out_of_time: Callable[[], bool] = lambda: False,
) -> list[Candidate]:
    """The candidates of a whole search by one worker."""
    show = show or Answers(task.rules.images).show
    return work(study or make_study(task), task, show, worker or this_worker(), out_of_time=out_of_time)
