"""The stages of a run: search, retrain, evaluate. Each reads what the one before left in the run folder."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from noah.candidate import Candidate, as_good_as, rank
from noah.checkpoint import CHECKPOINT_FILE, load_weights, read_checkpoint
from noah.data.augmented import TrainingPixels
from noah.data.pixels import Pixels
from noah.errors import CommandOrderError, RunError, SettingsError
from noah.evaluation import Logits, compute_logits, describe, predicted_labels
from noah.evolution import evaluations, evolve, winner
from noah.materials import Materials, seed_torch
from noah.merge import merge
from noah.predictions import Predictions, fingerprint_split, write_predictions
from noah.progress import Bar, Listener
from noah.racing import Outcome, Race, run_race
from noah.run_subnet import check_inherits, chosen_subnet, given_subnet, read_subnet
from noah.runs import Run, append_line, read_lines
from noah.settings import TrainingSettings
from noah.subnet import Subnet
from noah.subnet_draws import draw_subnets
from noah.supernet import Supernet, slice_trainable_state
from noah.training import balanced_weights, train

_SUPERNET, _SEARCH, _RETRAIN = 1, 2, 3
"""Second word of the seed of each stage, so that no two stages share random numbers."""


def search(run: Run, materials: Materials, listener: Listener) -> dict[str, Any]:
    """Train the supernet, then search it; goes on from whatever the run folder already holds.

    Returns:
        The content of search/best.json: the winner, and how sure that is.
    """
    settings, space = materials.settings, materials.space
    budget = settings.budget.parameters
    space.check_budget(budget)
    started = time.monotonic()
    # Decoded first: an image that cannot be read is told before hours of training, not after.
    validation = materials.pixels(materials.dataset.validation, "validation", listener)
    supernet = _train_supernet(run, materials, listener)

    path = run.path("search", "candidates.jsonl")
    candidates = _read_candidates(path)
    planned = evaluations(space, budget, settings.search)
    run.log("search", "started", candidates=len(candidates), planned=planned)
    with listener.bar("searching subnets", planned, "subnets") as bar:
        bar.update(len(candidates))
        seed = (settings.seed, _SEARCH)
        evaluate = _racing_on(supernet, validation, materials)
        for candidate in evolve(space, budget, settings.search, seed, evaluate, len(validation), candidates):
            append_line(path, candidate.to_json())
            candidates.append(candidate)
            bar.update(len(candidates), f"best {rank(candidates)[0].score.accuracy:.1%}")
    best = winner(candidates, settings.search)
    result = {
        **best.to_json(),
        "evaluated": len(candidates),
        "as_good": as_good_as(best, candidates),
        "given_up": sum(not candidate.outcome.complete for candidate in candidates),
        "images_shown": sum(candidate.score.total for candidate in candidates),
        "space_size": space.size(),
        "inside_budget": space.size(budget),
        "budget": {"parameters": budget},
        "reference_count": best.subnet.reference_count(space.embed_dim, max(space.largest.prompt)),
    }
    run.write_json(result, "search", "best.json")
    run.log("search", "finished", seconds=round(time.monotonic() - started, 1), candidates=len(candidates))
    return result


def _read_candidates(path: Path) -> list[Candidate]:
    candidates = []
    for number, line in enumerate(read_lines(path), start=1):
        try:
            candidates.append(Candidate.from_json(line))
        except (KeyError, TypeError, SettingsError) as error:
            raise RunError(
                f"{path} is damaged in line {number}: it is no candidate.", "Start a new run with `noah search`."
            ) from error
        if candidates[-1].index != number - 1:
            raise RunError(
                f"{path} is damaged in line {number}: it holds candidate {candidates[-1].index}, not {number - 1}.",
                "Start a new run with `noah search`.",
            )
    return candidates


def _train_supernet(run: Run, materials: Materials, listener: Listener) -> Supernet:
    settings = materials.settings
    seed = (settings.seed, _SUPERNET)
    seed_torch(*seed)
    supernet = _build_supernet(materials, materials.space.largest, settings.supernet)
    checkpoint = run.path("supernet", CHECKPOINT_FILE)
    stored = read_checkpoint(checkpoint) if checkpoint.exists() else None
    if stored and len(stored.losses) >= settings.supernet.epochs:
        load_weights(stored, supernet)
        run.write_json({"losses": list(stored.losses)}, "supernet", "losses.json")
        return supernet.eval()
    pixels = materials.training_pixels(materials.dataset.train, settings.supernet.augmentation, listener)
    run.log("supernet", "started", epochs=len(stored.losses) if stored else 0)
    with listener.bar("training the supernet", settings.supernet.epochs, "epochs") as bar:
        losses = train(
            supernet,
            pixels,
            materials.backbone.preprocessing,
            partial(draw_subnets, materials.space, settings.supernet, seed),
            settings.supernet,
            materials.hardware,
            seed=seed,
            checkpoint=checkpoint,
            bar=bar,
            class_weights=_class_weights(pixels, materials),
        )
    run.write_json({"losses": losses}, "supernet", "losses.json")
    run.log("supernet", "finished", loss=losses[-1])
    return supernet.eval()


def load_supernet(run: Run, materials: Materials) -> Supernet:
    """The trained supernet of a run, in evaluation mode.

    Raises:
        RunError: If its checkpoint is missing or damaged.
    """
    supernet = _build_supernet(materials, materials.space.largest, materials.settings.supernet)
    load_weights(read_checkpoint(run.path("supernet", CHECKPOINT_FILE)), supernet)
    return supernet.eval()


def _racing_on(supernet: Supernet, validation: Pixels, materials: Materials) -> Callable[[Subnet, Race], Outcome]:
    """Races a subnet by its merged network on the validation images."""
    batch_size = materials.settings.hardware.evaluation_batch_size

    def evaluate(subnet: Subnet, race: Race) -> Outcome:
        network = merge(supernet, subnet)

        def logits_of(indices: NDArray[np.int64]) -> Logits:
            preprocessing = materials.backbone.preprocessing
            return compute_logits(network, validation, preprocessing, materials.hardware, batch_size, chosen=indices)

        return run_race(race, validation.labels, logits_of, batch_size)

    return evaluate


def merged_logits(
    supernet: Supernet, subnet: Subnet, pixels: Pixels, materials: Materials, bar: Bar | None = None
) -> Logits:
    """Logits float32 (n, classes) of every image, by the subnet's merged network."""
    return compute_logits(
        merge(supernet, subnet),
        pixels,
        materials.backbone.preprocessing,
        materials.hardware,
        materials.settings.hardware.evaluation_batch_size,
        bar,
    )


def retrain(run: Run, materials: Materials, listener: Listener) -> dict[str, Any]:
    """Train the run's subnet on the full training split; goes on from its checkpoint if there is one.

    Returns:
        The content of retrain/model.json.

    Raises:
        CommandOrderError: If the search has not finished.
        UsageError: If it is to start from a supernet's weights, and the run has no supernet.
    """
    settings = materials.settings
    subnet = chosen_subnet(run)
    check_inherits(run, settings.retrain)
    seed_torch(settings.seed, _RETRAIN)
    model = _build_supernet(materials, subnet, settings.retrain)
    if settings.retrain.inherit:
        supernet = load_supernet(run, materials)
        model.load_trainable_state(slice_trainable_state(supernet, subnet))
    if not run.path("retrain", CHECKPOINT_FILE).exists():
        run.write_json(settings.retrain.model_dump(mode="json"), "retrain", "settings.json")
    pixels = materials.training_pixels(materials.dataset.full_train, settings.retrain.augmentation, listener)
    started = time.monotonic()
    run.log("retrain", "started", hardware=materials.hardware.to_json())
    title = "retraining the winner" if given_subnet(run) is None else "training the subnet"
    with listener.bar(title, settings.retrain.epochs, "epochs") as bar:
        losses = train(
            model,
            pixels,
            materials.backbone.preprocessing,
            lambda *_: (subnet,),
            settings.retrain,
            materials.hardware,
            seed=(settings.seed, _RETRAIN),
            checkpoint=run.path("retrain", CHECKPOINT_FILE),
            bar=bar,
            class_weights=_class_weights(pixels, materials),
        )
    result = {
        "subnet": subnet.to_json(),
        "parameters": subnet.parameter_count(model.embed_dim),
        "head_parameters": sum(parameter.numel() for parameter in model.head.parameters()),
        "images": len(pixels),
        "seed": settings.seed,
        "hardware": materials.hardware.to_json(),
        "settings": settings.retrain.model_dump(mode="json"),
        "losses": losses,
    }
    run.write_json(result, "retrain", "model.json")
    run.log("retrain", "finished", seconds=round(time.monotonic() - started, 1), loss=losses[-1])
    return result


def evaluate_test(run: Run, materials: Materials, listener: Listener) -> dict[str, Any]:
    """Evaluate the retrained winner on the test split, which is opened here for the first time.

    Returns:
        The content of eval/test.json.
    """
    model, subnet = load_retrained(run, materials)
    split, classes = materials.dataset.load_test(), materials.dataset.classes
    pixels = materials.pixels(split, "test", listener)
    with listener.bar("evaluating on the test split", len(pixels), "images") as bar:
        logits = merged_logits(model, subnet, pixels, materials, bar)
    result = {
        "split": "test",
        "subnet": subnet.to_json(),
        "hardware": materials.hardware.to_json(),
        **describe(logits, pixels.labels, classes),
    }
    predictions = Predictions(fingerprint_split(split, classes), pixels.labels, predicted_labels(logits))
    write_predictions(run, predictions, "test.json")
    run.write_json(result, "eval", "test.json")
    run.log("eval", "finished", correct=result["correct"], total=result["total"])
    return result


def load_retrained(run: Run, materials: Materials) -> tuple[Supernet, Subnet]:
    """The trained subnet: a supernet just as large as it, in evaluation mode.

    Raises:
        CommandOrderError: If it has not been retrained to its end.
    """
    if not run.path("retrain", "model.json").is_file():
        started = run.path("retrain", CHECKPOINT_FILE).exists()
        raise CommandOrderError(
            f"The subnet of {run.name} has not been retrained{' to its end' if started else ''}.",
            f"Type: noah retrain {'--resume ' if started else ''}--run {run.option}",
        )
    subnet = read_subnet(run, "retrain", "model.json")
    model = _build_supernet(materials, subnet, materials.settings.retrain)
    load_weights(read_checkpoint(run.path("retrain", CHECKPOINT_FILE)), model)
    return model.eval(), subnet


def _build_supernet(materials: Materials, largest: Subnet, training: TrainingSettings) -> Supernet:
    return Supernet(
        materials.backbone.model,
        largest,
        num_classes=len(materials.dataset.classes),
        dropout=training.dropout,
        drop_path=training.drop_path,
        prompt_dropout_per_image=training.prompt_dropout == "per_image",
    )


def _class_weights(pixels: TrainingPixels, materials: Materials) -> Tensor | None:
    if materials.settings.data.class_weights == "none":
        return None
    return balanced_weights(pixels.labels, len(materials.dataset.classes))
