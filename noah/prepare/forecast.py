"""What a run would take, from a few timed steps of each stage (`noah.prepare.trial_steps`): time, images, memory.

Where a launcher started several processes, all of them time the same steps at once. A step of a training is then one
that they take together, each its share of the batch, and in the search each evaluates candidates of its own.

The test split stays closed, so its evaluation is left out.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from noah.cost.macs import backbone_macs
from noah.hardware.memory import process_peak
from noah.nas.evolution import evaluations
from noah.prepare.advice import advise
from noah.prepare.context import Materials
from noah.prepare.held_out import final_images
from noah.prepare.trial_steps import TrainingTrial, try_evaluation, try_retraining, try_supernet_training
from noah.progress import Listener
from noah.settings.settings import EvolutionSettings, Settings, rerank_epochs
from noah.settings.training_settings import TrainingSettings
from noah.space.budget import Budget
from noah.space.operators import check_budget, estimate_size
from noah.space.pricing import SizeEstimate

SEARCH_SHARE = 0.3
"""Of a limited time, kept for the search; `epochs_within` says why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage would take.

    Args:
        steps: Optimizer steps, or candidates in the search.
        images: Images that go through, counted as often as they do; once a step, however many subnets it trains.
        reading: Seconds to read its images into memory, once.
        seconds: All of it, reading included.
        memory: Peak in MiB, see `noah.hardware.memory.PeakMemory`: the device's own on CUDA, on a CPU at least so much
            more than before; None where nothing is told.
        at_most: Whether steps stop early, so that images and seconds are bounds.
    """

    steps: int
    images: int
    reading: float
    seconds: float
    memory: float | None
    at_most: bool = False


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a run would take.

    Args:
        device: What it runs on, such as "cpu".
        precision: "fp32" or "bf16".
        threads: CPU threads of each process.
        processes: How many share the work.
        supernet: The training of the supernet.
        search: The search.
        finalists: The training of the best candidates (`noah.stages.rerank`); None where the search has none.
        retrain: The retraining; None where it was not asked for, and the finalists with it.
        epoch_seconds: One epoch of the supernet's training.
        step_seconds: One of its steps.
        merge_seconds: Merging one candidate.
        image_seconds: One image through a merged network.
        space_size: Number of subnets of the space.
        inside_budget: Of these, how many the budget admits; exact where only parameters are bounded.
        budget: The budget in words; empty where nothing is bounded.
        backbone: Name of the architecture.
        macs: Multiply-accumulates of the plain backbone for one image.
        process_memory: The most MiB of main memory that this process has held; the whole run takes at least that.
        advice: What makes a run that takes too long shorter; empty where it does not.
    """

    device: str
    precision: str
    threads: int
    processes: int
    supernet: Stage
    search: Stage
    finalists: Stage | None
    retrain: Stage | None
    epoch_seconds: float
    step_seconds: float
    merge_seconds: float
    image_seconds: float
    space_size: int
    inside_budget: SizeEstimate
    budget: str
    backbone: str
    macs: int
    process_memory: float | None
    advice: tuple[str, ...]

    @property
    def seconds(self) -> float:
        """All stages together."""
        return self.search_seconds + (self.retrain.seconds if self.retrain else 0.0)

    @property
    def search_seconds(self) -> float:
        """All but the retraining: what `noah search` takes."""
        return self.supernet.seconds + self.search.seconds + (self.finalists.seconds if self.finalists else 0.0)

    def to_json(self) -> dict[str, Any]:
        """The forecast as written to files."""
        value = {**asdict(self), **self.inside_budget.to_json(), "seconds": self.seconds}
        return {**value, "advice": list(self.advice)}


def forecast(materials: Materials, budget: Budget, listener: Listener, *, retraining: bool = True) -> Forecast:
    """Time a few steps of each stage and say what the whole run would take. No run folder is touched.

    Args:
        materials: Settings, dataset, backbone, hardware and search space of the run to be.
        budget: What its candidates may cost.
        listener: Told the progress of the timing.
        retraining: Whether the retraining is timed too; a limited search does not need it.

    Raises:
        EmptySpaceError: If the budget admits nothing.
    """
    settings, space, data = materials.settings, materials.space, materials.dataset
    processes = materials.hardware.processes.count
    check_budget(space, budget)
    training = try_supernet_training(materials, listener)
    supernet = _training_stage(len(data.train), settings.supernet, training)

    candidates = evaluations(space, budget, settings.search)
    images = candidates * len(data.validation)
    trial = try_evaluation(materials, budget, listener)
    one_after_the_other = math.ceil(candidates / processes)
    evaluating = trial.merge_seconds + len(data.validation) * trial.image_seconds
    seconds = trial.reading_seconds + one_after_the_other * evaluating
    search = Stage(
        candidates, images, trial.reading_seconds, seconds, trial.memory, at_most=_stops_early(settings.search)
    )

    finalists, retrain = None, None
    if retraining:
        retraining_trial = try_retraining(materials, budget, listener)
        retrain = _training_stage(len(final_images(materials).training), settings.retrain, retraining_trial)
        reading = training.reading_seconds + trial.reading_seconds
        finalists = _finalists(materials, candidates, reading, retraining_trial.step_seconds, evaluating)
    macs = backbone_macs(materials.backbone.model, len(data.classes))
    before = supernet.seconds + search.seconds + (finalists.seconds if finalists else 0.0)
    return Forecast(
        device=str(materials.hardware.device),
        precision=materials.hardware.precision,
        threads=materials.hardware.threads,
        processes=processes,
        supernet=supernet,
        search=search,
        finalists=finalists,
        retrain=retrain,
        epoch_seconds=_steps_an_epoch(len(data.train), settings.supernet) * training.step_seconds,
        step_seconds=training.step_seconds,
        merge_seconds=trial.merge_seconds,
        image_seconds=trial.image_seconds,
        space_size=space.size(),
        inside_budget=estimate_size(space, budget),
        budget=budget.describe(),
        backbone=materials.backbone.architecture,
        macs=macs,
        process_memory=process_peak(),
        advice=advise(materials, macs, before, retrain.seconds if retrain else 0.0),
    )


def epochs_within(
    seconds: float,
    epoch_seconds: float,
    epochs: int,
    *,
    search_seconds: float = math.inf,
    share: float = SEARCH_SHARE,
) -> int:
    """How many epochs of the supernet's training fit into a limited time that the search shares.

    The search keeps 30% of the time, or what it needs at most where that is less. A step of training costs about three
    forward passes an image, and by default there is one validation image for four training images; so each epoch that
    fits into the other 70% leaves the search 0.3 / 0.7 x 3 x 4, or five, whole evaluations. Ten epochs, fewer than
    which hardly teach a supernet to rank, leave it fifty, which are a first generation and some to build on it; racing
    makes them two to three times as many. A smaller share would leave a supernet with nothing chosen from it.

    Args:
        seconds: The time for both.
        epoch_seconds: One epoch.
        epochs: The most that are wanted.
        search_seconds: What the whole search takes at most.
        share: Of the time, kept for the search.

    Returns:
        At least 1, even where nothing fits: without a supernet there is no search.
    """
    left = seconds - min(share * seconds, search_seconds)
    fitting = left / epoch_seconds if epoch_seconds > 0 else math.inf
    return max(1, min(epochs, math.floor(min(fitting, epochs))))


def plan_epochs(seconds: float, made: Forecast, settings: Settings) -> int:
    """The epochs of the supernet's training for a search with a time limit; at least 1, at most those of the settings.

    Args:
        seconds: From now to the limit; what the forecast itself took is over.
        made: What the search would take without a limit.
        settings: Of the run.
    """
    left = max(0.0, seconds - made.supernet.reading)
    epochs = settings.supernet.epochs
    return epochs_within(left, made.epoch_seconds, epochs, search_seconds=made.search.seconds)


def _training_stage(images: int, settings: TrainingSettings, trial: TrainingTrial) -> Stage:
    steps = settings.epochs * _steps_an_epoch(images, settings)
    seconds = trial.reading_seconds + steps * trial.step_seconds
    return Stage(steps, settings.epochs * images, trial.reading_seconds, seconds, trial.memory)


def _finalists(
    materials: Materials, candidates: int, reading: float, step_seconds: float, evaluating: float
) -> Stage | None:
    """The training of the best candidates on the training images, and the evaluation of each; None without any."""
    settings, images = materials.settings, len(materials.dataset.train)
    count = min(settings.search.rerank, candidates)
    if count < 2:  # there is nothing to choose from
        return None
    epochs = rerank_epochs(settings)
    steps = count * epochs * _steps_an_epoch(images, settings.retrain)
    seconds = reading + steps * step_seconds + count * evaluating
    return Stage(steps, count * epochs * images, reading, seconds, None)


def _steps_an_epoch(images: int, settings: TrainingSettings) -> int:
    return math.ceil(images / settings.batch_size)


def _stops_early(settings: EvolutionSettings) -> bool:
    """Whether candidates are given up before they have seen every image."""
    return settings.racing != "off" and settings.sampler != "published"
