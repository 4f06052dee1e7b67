"""Times each stage of the paper's whole recipe for one VTAB task, on synthetic images from which nothing is learned.

The stages are the real ones, with the settings of the recipe `vtab`: the supernet's training, the search over its
candidates, and the winner's retraining. Only the images are made up, which does not change the time.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn

from benchmarks.step_ways import CLASSES, Setting, synthetic_pixels
from noah.data.pixels.pixels import Pixels
from noah.files.atomic import write_json
from noah.hardware.device import Hardware
from noah.hardware.step_clock import wait
from noah.model.supernet import Supernet
from noah.nas.candidate import Candidate
from noah.nas.candidate_evaluation import candidate_logits, showing, smallest_batch
from noah.nas.evolution import needed_exactly
from noah.nas.loop import work
from noah.nas.race import Task
from noah.nas.racing import Rules
from noah.nas.storage import journal_storage
from noah.nas.study import SearchStudy
from noah.nas.worker import this_worker
from noah.progress import Bar, Detail, Listener
from noah.settings.layers import recipe_layer, resolve
from noah.settings.settings import Settings
from noah.settings.training_settings import TrainingSettings
from noah.space.budget import parameter_budget
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet
from noah.training.loop import train
from noah.training.subnet_draws import SubnetDraw, draw_subnets

TRAIN, VALIDATION = 800, 200
"""Number of images in VTAB-1k's two splits."""


@dataclass(frozen=True, slots=True)
class RecipeTime:
    """The seconds that each stage took.

    Attributes:
        supernet: Seconds of the supernet's training.
        search: Seconds of the search over all candidates.
        retrain: Seconds of the winner's training.
        candidates: Number of candidates.
        images_shown: Number of images shown to all candidates together; racing saves some.
    """

    supernet: float
    search: float
    retrain: float
    candidates: int
    images_shown: int

    @property
    def total(self) -> float:
        """Seconds of all stages together."""
        return self.supernet + self.search + self.retrain


def vtab_settings(**changes: dict[str, object]) -> Settings:
    """Give the recipe's settings, with changed values in some of its sections."""
    settings, _ = resolve([recipe_layer("vtab")])
    sections = {name: getattr(settings, name).model_copy(update=values) for name, values in changes.items()}
    return settings.model_copy(update=sections)


class StageClock:
    """The seconds that each stage took, in a file, so that a recipe that was stopped goes on counting where it was.

    What a stage did after its last note counts neither as done nor as time, because it will be done again.

    Args:
        path: The file.
        hardware: The device to wait for before the clock is read.
    """

    def __init__(self, path: Path, hardware: Hardware) -> None:
        self.seconds: dict[str, float] = {}
        self._path = path
        self._hardware = hardware
        self._done: dict[str, float] = {}
        self._stage, self._before, self._started = "", 0.0, 0.0
        if path.is_file():
            stored = json.loads(path.read_text(encoding="utf-8"))
            self.seconds, self._done = stored["seconds"], stored["done"]

    def start(self, stage: str) -> None:
        """Begin a stage, or go on with it."""
        self._stage, self._before, self._started = stage, self.seconds.get(stage, 0.0), self._now()

    def note(self, done: float) -> None:
        """Write down the time of the stage, if more of it is done than at the last note.

        Args:
            done: How much of the stage is done, in its own unit.
        """
        if done <= self._done.get(self._stage, 0.0):
            return
        self.seconds[self._stage] = self._before + self._now() - self._started
        self._done[self._stage] = done
        write_json(self._path, {"seconds": self.seconds, "done": self._done})

    def _now(self) -> float:
        wait(self._hardware.device)
        return time.perf_counter()


@dataclass(frozen=True, slots=True)
class _NotingBar:
    """The bar of a training, which notes the time of every whole epoch."""

    bar: Bar
    clock: StageClock

    def update(self, done: float, text: str = "", detail: Detail | None = None) -> None:
        if done == int(done):
            self.clock.note(done)
        self.bar.update(done, text, detail)


def time_recipe(
    setting: Setting,
    hardware: Hardware,
    settings: Settings,
    evaluation_batch_size: int,
    listener: Listener,
    folder: Path,
    leave: Callable[[], bool] = lambda: False,
) -> RecipeTime | None:
    """Run all stages and time them.

    Args:
        setting: The backbone, with random weights, and the space.
        hardware: Device and precision.
        settings: Epochs, candidates and so on.
        evaluation_batch_size: Images per batch in the search.
        listener: Shows the progress.
        folder: Checkpoints, the search's record and the seconds are kept there; what was done before is not done again.
        leave: Whether to stop, to go on another time; asked between steps.

    Returns:
        The times; None if it was left before the end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    clock = StageClock(folder / "seconds.json", hardware)
    backbone = setting.backbone()
    space = setting.search_space(backbone)
    training, validation = (synthetic_pixels(setting, count) for count in (TRAIN, VALIDATION))
    full = synthetic_pixels(setting, TRAIN + VALIDATION)

    def trained(
        stage: str, title: str, model: Supernet, pixels: Pixels, draw: SubnetDraw, own: TrainingSettings
    ) -> bool:
        """Train to the end, unless it is time to leave."""
        checkpoint = folder / f"{stage}.safetensors"
        with listener.bar(title, own.epochs, "epochs") as bar:
            losses = train(
                model,
                pixels,
                pixels.preprocessing,
                draw,
                own,
                hardware,
                seed=(0, 1),
                checkpoint=checkpoint,
                bar=_NotingBar(bar, clock),
                say=listener.say,
                leave=leave,
            )
        return len(losses) == own.epochs

    clock.start("supernet")
    supernet = _supernet(backbone, space.largest, settings.supernet)
    draw = partial(draw_subnets, space, settings.supernet, (0, 1))
    if not trained("supernet", "training the supernet", supernet, training, draw, settings.supernet):
        return None

    clock.start("search")
    task = make_task(space, settings, hardware, evaluation_batch_size)
    study = SearchStudy(journal_storage(folder / "search" / "journal.log"), "recipe", space, settings.search)
    ask = candidate_logits(supernet.eval(), validation, validation.preprocessing, hardware, evaluation_batch_size)
    with listener.bar("searching subnets", task.planned, "subnets") as bar:

        def tell(found: Sequence[Candidate]) -> None:
            clock.note(len(found))
            bar.update(len(found))

        show = showing(ask, validation.labels)
        candidates = work(study, task, show, this_worker(), out_of_time=leave, tell=tell)
    if len(candidates) < task.planned:
        return None

    clock.start("retrain")
    best = max(candidates, key=lambda candidate: (candidate.outcome.complete, candidate.score.accuracy)).subnet
    winner = _supernet(backbone, best, settings.retrain)
    if not trained("retrain", "retraining the winner", winner, full, lambda *_: (best,), settings.retrain):
        return None
    shown = sum(candidate.score.total for candidate in candidates)
    return RecipeTime(**clock.seconds, candidates=len(candidates), images_shown=shown)


def make_task(space: SearchSpace, settings: Settings, hardware: Hardware, batch_size: int) -> Task:
    """Set up the search as `noah.stages.search_stage` does."""
    rules = Rules(
        rule=settings.search.racing,
        images=VALIDATION,
        top=needed_exactly(settings.search),
        smallest_batch=smallest_batch(hardware, batch_size),
        batch_size=batch_size,
    )
    budget = parameter_budget(settings.budget.parameters, space.embed_dim)
    return Task(space, budget, settings.search, (0, 2), rules, cost=lambda _: 0.0)


def _supernet(backbone: nn.Module, largest: Subnet, settings: TrainingSettings) -> Supernet:
    """Fresh modules, the same ones whenever a recipe goes on."""
    torch.manual_seed(0)
    rates = {"dropout": settings.dropout, "drop_path": settings.drop_path}
    return Supernet(backbone, largest, num_classes=CLASSES, **rates)
