"""The paper's whole recipe for one VTAB task on synthetic images: how long each stage takes. Nothing of it is learned.

The stages are the product's own: the supernet's training, the search over its candidates, the winner's retraining, with
the settings of the recipe `vtab`. Only the images are made up, which is no matter to a clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna

from benchmarks.step_ways import CLASSES, Setting, synthetic_pixels
from noah.data.pixels.pixels import Pixels
from noah.hardware.device import Hardware
from noah.hardware.step_clock import wait
from noah.model.supernet import Supernet
from noah.nas.candidate_evaluation import candidate_logits, showing, smallest_batch
from noah.nas.evolution import needed_exactly
from noah.nas.loop import Task, work
from noah.nas.racing import Rules
from noah.nas.study import SearchStudy
from noah.nas.worker import this_worker
from noah.progress import Listener
from noah.settings.layers import recipe_layer, resolve
from noah.settings.settings import Settings
from noah.settings.training_settings import TrainingSettings
from noah.space.budget import parameter_budget
from noah.space.search_space import SearchSpace
from noah.training.loop import train
from noah.training.subnet_draws import SubnetDraw, draw_subnets

TRAIN, VALIDATION = 800, 200
"""Images of VTAB-1k's two splits."""


@dataclass(frozen=True, slots=True)
class RecipeTime:
    """Seconds of each stage.

    Attributes:
        supernet: Of its training.
        search: Of all candidates.
        retrain: Of the winner's training.
        candidates: How many there were.
        images_shown: To all of them together; racing leaves some out.
    """

    supernet: float
    search: float
    retrain: float
    candidates: int
    images_shown: int

    @property
    def total(self) -> float:
        """All stages."""
        return self.supernet + self.search + self.retrain


def vtab_settings(**changes: dict[str, object]) -> Settings:
    """The recipe's settings, with other values in some of its sections."""
    settings, _ = resolve([recipe_layer("vtab")])
    sections = {name: getattr(settings, name).model_copy(update=values) for name, values in changes.items()}
    return settings.model_copy(update=sections)


def time_recipe(
    setting: Setting, hardware: Hardware, settings: Settings, evaluation_batch_size: int, listener: Listener
) -> RecipeTime:
    """Go through all stages.

    Args:
        setting: The backbone, with random weights, and the space.
        hardware: Where and in which precision.
        settings: Epochs, candidates and so on.
        evaluation_batch_size: Images at once in the search.
        listener: Told the progress.
    """
    backbone = setting.backbone()
    space = setting.search_space(backbone)
    training, validation = (synthetic_pixels(setting, count) for count in (TRAIN, VALIDATION))
    full = synthetic_pixels(setting, TRAIN + VALIDATION)

    started = _now(hardware)
    supernet = Supernet(
        backbone,
        space.largest,
        num_classes=CLASSES,
        dropout=settings.supernet.dropout,
        drop_path=settings.supernet.drop_path,
    )
    draw = partial(draw_subnets, space, settings.supernet, (0, 1))
    _train(supernet, training, draw, settings.supernet, hardware, listener, "training the supernet")
    trained = _now(hardware)

    task = make_task(space, settings, hardware, evaluation_batch_size)
    study = SearchStudy(optuna.storages.InMemoryStorage(), "recipe", space, settings.search)
    ask = candidate_logits(supernet.eval(), validation, validation.preprocessing, hardware, evaluation_batch_size)
    with listener.bar("searching subnets", task.planned, "subnets") as bar:
        show = showing(ask, validation.labels)
        candidates = work(study, task, show, this_worker(), tell=lambda found: bar.update(len(found)))
    searched = _now(hardware)

    best = max(candidates, key=lambda candidate: (candidate.outcome.complete, candidate.score.accuracy)).subnet
    winner = Supernet(
        backbone,
        best,
        num_classes=CLASSES,
        dropout=settings.retrain.dropout,
        drop_path=settings.retrain.drop_path,
    )
    _train(winner, full, lambda *_: (best,), settings.retrain, hardware, listener, "retraining the winner")
    shown = sum(candidate.score.total for candidate in candidates)
    return RecipeTime(trained - started, searched - trained, _now(hardware) - searched, len(candidates), shown)


def make_task(space: SearchSpace, settings: Settings, hardware: Hardware, batch_size: int) -> Task:
    """The search as `noah.stages.search_stage` begins it."""
    rules = Rules(
        rule=settings.search.racing,
        images=VALIDATION,
        top=needed_exactly(settings.search),
        smallest_batch=smallest_batch(hardware, batch_size),
        batch_size=batch_size,
    )
    budget = parameter_budget(settings.budget.parameters, space.embed_dim)
    return Task(space, budget, settings.search, (0, 2), rules, cost=lambda _: 0.0)


def _train(
    model: Supernet,
    pixels: Pixels,
    draw: SubnetDraw,
    settings: TrainingSettings,
    hardware: Hardware,
    listener: Listener,
    title: str,
) -> None:
    with TemporaryDirectory() as folder, listener.bar(title, settings.epochs, "epochs") as bar:
        checkpoint = Path(folder) / "checkpoint.safetensors"
        train(
            model,
            pixels,
            pixels.preprocessing,
            draw,
            settings,
            hardware,
            seed=(0, 1),
            checkpoint=checkpoint,
            bar=bar,
        )


def _now(hardware: Hardware) -> float:
    wait(hardware.device)
    return time.perf_counter()
