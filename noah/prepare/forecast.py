"""What a run would take in time, images and memory, from a few timed steps of each stage (`noah.prepare.trial_steps`).

If a launcher started several processes, all of them time the same steps at once. In a training they take each step
together, each with its share of the batch; in the search each evaluates candidates of its own.

The test set stays closed, so its evaluation is left out.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from noah.cost.macs import backbone_macs
from noah.hardware.memory import process_peak
from noah.nas.evolution import evaluations
from noah.nas.halving import plan_rungs
from noah.prepare.advice import advise
from noah.prepare.context import Materials
from noah.prepare.held_out import final_images, images_of_finalists
from noah.prepare.trial_steps import TrainingTrial, try_evaluation, try_retraining, try_supernet_training
from noah.progress import Listener
from noah.settings.settings import EvolutionSettings, Settings, has_final, rerank_epochs
from noah.settings.training_settings import TrainingSettings
from noah.space.baselines import singles
from noah.space.budget import Budget
from noah.space.operators import check_budget, estimate_size
from noah.space.pricing import SizeEstimate

SEARCH_SHARE = 0.3
"""The share of a limited time that is kept for the search; `epochs_within` says why."""


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage would take.

    Args:
        steps: The number of optimizer steps, or of candidates in the search.
        images: How many images are processed, counting repeats, but once per step however many subnets it trains.
        reading: Seconds for reading the images into memory, once.
        seconds: Seconds for the whole stage, including reading.
        memory: Peak memory in MiB, see `noah.hardware.memory.PeakMemory`: the device's own on CUDA; on a CPU, at least
            so much more than before; None if it is not known.
        at_most: Whether the stage may stop early, so that images and seconds are upper limits.
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
        device: The device that it runs on, such as "cpu".
        precision: The precision, "fp32" or "bf16".
        threads: The number of CPU threads of each process.
        processes: How many processes share the work.
        supernet: The cost of training the supernet.
        search: The cost of the search.
        finalists: The cost of training the best candidates (`noah.stages.rerank`); None if the search has no finalists.
        retrain: The cost of retraining; None if it was not asked for, and then finalists is None, too.
        epoch_seconds: Seconds for one epoch of the supernet's training.
        step_seconds: Seconds for one step of the supernet's training.
        merge_seconds: Seconds for merging one candidate.
        image_seconds: Seconds for one image through a merged network.
        space_size: The number of subnets in the space.
        inside_budget: How many of these the budget admits; exact if only parameters are bounded.
        budget: The budget in words; empty if nothing is bounded.
        backbone: The name of the architecture.
        macs: The plain backbone's multiply-accumulates for one image.
        process_memory: The peak of this process's main memory in MiB; the whole run takes at least that much.
        advice: How to shorten a run that takes too long; empty for other runs.
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
        """The seconds for all stages together."""
        return self.search_seconds + (self.retrain.seconds if self.retrain else 0.0)

    @property
    def search_seconds(self) -> float:
        """The seconds for everything but the retraining, which is what `noah search` takes."""
        return self.supernet.seconds + self.search.seconds + (self.finalists.seconds if self.finalists else 0.0)

    def to_json(self) -> dict[str, Any]:
        """The forecast as written to files."""
        value = {**asdict(self), **self.inside_budget.to_json(), "seconds": self.seconds}
        return {**value, "advice": list(self.advice)}


def forecast(materials: Materials, budget: Budget, listener: Listener, *, retraining: bool = True) -> Forecast:
    """Time a few steps of each stage and say what the whole run would take. No run folder is touched.

    Args:
        materials: Settings, dataset, backbone, hardware and search space of the future run.
        budget: What the candidates may cost.
        listener: Receives the progress of the timing.
        retraining: Whether to time the retraining too; a search with a time limit does not need it.

    Raises:
        EmptySpaceError: If the budget admits no subnet.
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
        finalists = _finalists(materials, budget, candidates, reading, retraining_trial.step_seconds, evaluating)
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
    """Compute how many epochs of the supernet's training fit into a limited time that it shares with the search.

    30% of the time is kept for the search, or the most that it needs, if that is less. A step of training costs about
    three forward passes per image, and by default there is one validation image for every four training images. So each
    epoch that fits into the other 70% leaves time for 0.3 / 0.7 x 3 x 4, or about five, full evaluations. Ten epochs,
    the fewest that teach a supernet to rank reasonably well, leave time for fifty, which are a first generation and a
    start on the next; racing makes it two to three times as many. With a smaller share, there would be a supernet but
    nothing chosen from it.

    Args:
        seconds: The time for training and search together.
        epoch_seconds: Seconds for one epoch.
        epochs: The most epochs that are wanted.
        search_seconds: The most seconds that the whole search takes.
        share: The share of the time that is kept for the search.

    Returns:
        At least 1, even if nothing fits: without a supernet there is no search.
    """
    left = seconds - min(share * seconds, search_seconds)
    fitting = left / epoch_seconds if epoch_seconds > 0 else math.inf
    return max(1, min(epochs, math.floor(min(fitting, epochs))))


def plan_epochs(seconds: float, made: Forecast, settings: Settings) -> int:
    """Choose the epochs of the supernet's training under a time limit; at least 1, at most those in the settings.

    Args:
        seconds: The time left until the limit, after the forecast.
        made: The forecast for the search without a limit.
        settings: The settings of the run.
    """
    left = max(0.0, seconds - made.supernet.reading)
    epochs = settings.supernet.epochs
    return epochs_within(left, made.epoch_seconds, epochs, search_seconds=made.search.seconds)


def _training_stage(images: int, settings: TrainingSettings, trial: TrainingTrial) -> Stage:
    steps = settings.epochs * _steps_an_epoch(images, settings)
    seconds = trial.reading_seconds + steps * trial.step_seconds
    return Stage(steps, settings.epochs * images, trial.reading_seconds, seconds, trial.memory)


def _finalists(
    materials: Materials, budget: Budget, candidates: int, reading: float, step_seconds: float, evaluating: float
) -> Stage | None:
    """The cost of training the best candidates on the training set and evaluating each; None if there are none."""
    settings, images = materials.settings, len(images_of_finalists(materials))
    alone = len(singles(materials.space, budget)) if settings.search.baselines else 0
    invited = alone if settings.search.invited is None else len(settings.search.invited)
    count = min(settings.search.rerank + invited, candidates)
    if not has_final(settings.search) or count < 2:  # there is nothing to choose from
        return None
    rungs = plan_rungs(count, rerank_epochs(settings), settings.search.rungs)
    epochs, trainings = (sum(rung.entrants * rung.epochs for rung in rungs), sum(rung.entrants for rung in rungs))
    steps = epochs * _steps_an_epoch(images, settings.retrain)
    seconds = reading + steps * step_seconds + trainings * evaluating
    return Stage(steps, epochs * images, reading, seconds, None)


def _steps_an_epoch(images: int, settings: TrainingSettings) -> int:
    return math.ceil(images / settings.batch_size)


def _stops_early(settings: EvolutionSettings) -> bool:
    """Whether candidates may be given up before they have been evaluated on every image."""
    return settings.racing != "off" and settings.sampler != "published"
