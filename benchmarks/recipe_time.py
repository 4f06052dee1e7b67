"""Times each stage of the paper's whole recipe for one VTAB task, on synthetic images from which nothing is learned.

The stages are the real ones, with the settings of the recipe `vtab`: the supernet's training, the search over its
candidates, and the winner's retraining. Only the images are made up, which does not change the time.
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


def time_recipe(
    setting: Setting, hardware: Hardware, settings: Settings, evaluation_batch_size: int, listener: Listener
) -> RecipeTime:
    """Run all stages and time them.

    Args:
        setting: The backbone, with random weights, and the space.
        hardware: Device and precision.
        settings: Epochs, candidates and so on.
        evaluation_batch_size: Images per batch in the search.
        listener: Shows the progress.
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
            say=print,
        )


def _now(hardware: Hardware) -> float:
    wait(hardware.device)
    return time.perf_counter()
