"""The stages of a run after its search: retrain, evaluate. Each reads what the one before left in the run folder."""

from __future__ import annotations

import shlex
import time
from typing import Any

from noah.errors import CommandOrderError
from noah.evaluation.reliability import confidences
from noah.evaluation.score import describe, predicted_labels
from noah.evaluation.temperature import Temperature, at_temperature
from noah.model.supernet import Supernet, slice_trainable_state
from noah.prepare.build import build_supernet, class_weights, load_supernet
from noah.prepare.common_images import TestImages
from noah.prepare.context import Materials, seed_torch
from noah.prepare.earlier import Earlier, load_earlier_weights, read_earlier
from noah.prepare.first_blocks import compute_first_blocks
from noah.prepare.held_out import (
    FinalImages,
    check_held_out,
    describe_held_out,
    final_images,
    keep_held_out,
)
from noah.progress import Listener, counted
from noah.runs.damaged_images import keep_damaged, refused_list
from noah.runs.folder import Run
from noah.runs.kept_predictions import KeptPredictions, fingerprint_split, write_predictions
from noah.runs.mistakes import keep_mistakes
from noah.runs.run_images import hash_images
from noah.runs.run_subnet import (
    FRONT,
    STARTED_WITH,
    check_inherits,
    check_still_chosen,
    chosen_subnet,
    given_subnet,
    read_subnet,
)
from noah.runs.run_temperature import kept_temperature, read_temperature
from noah.runs.seals import RETRAIN, break_seal, result_place, seal_result, seal_retrained, seal_start
from noah.settings.training_settings import RetrainSettings
from noah.space.subnet import Subnet
from noah.stages.early_stopping import EarlyStopping, forget
from noah.stages.fitted_temperature import fitted_temperature, spell_temperature
from noah.stages.merged_logits import merged_logits
from noah.stages.teaching import taught_labels
from noah.training.checkpoint import load_weights, read_checkpoint
from noah.training.checkpoint_file import CHECKPOINT_FILE
from noah.training.divergence import doubt, lower_learning_rate
from noah.training.loop import train

_RETRAIN = 3
"""The second word of this stage's seed, which no other stage uses."""


def retrain(run: Run, materials: Materials, listener: Listener) -> dict[str, Any]:
    """Train the run's subnet on all images that are not for testing, from its checkpoint if there is one.

    The images that `retrain.hold_out` leaves out are reported and recorded.

    Returns:
        The content of retrain/model.json.

    Raises:
        CommandOrderError: If the search has not finished.
        UsageError: If it is to start from a supernet's weights but the run has no supernet.
    """
    settings = materials.settings
    subnet = chosen_subnet(run)
    check_inherits(run, settings.retrain)
    seal_start(run)
    break_seal(run, RETRAIN)
    seed_torch(settings.seed, _RETRAIN)
    model = build_supernet(materials, subnet, settings.retrain)
    if settings.retrain.inherit:
        supernet = load_supernet(run, materials)
        model.load_trainable_state(slice_trainable_state(supernet, subnet))
    load_earlier_weights(run, model, materials.dataset.classes)
    if not run.path("retrain", CHECKPOINT_FILE).exists():
        if run.writes:
            forget(run.path("retrain", CHECKPOINT_FILE))
        run.write_json(settings.retrain.model_dump(mode="json"), "retrain", "settings.json")
        run.write_json({"subnet": subnet.to_json()}, *STARTED_WITH)
    final = final_images(materials)
    held_out = describe_held_out(final, materials)
    keep_held_out(run, held_out)
    if final.held_out is not None:
        listener.say(
            f"held out  {len(final.held_out.stopping):,} images to stop by and "
            f"{len(final.held_out.gates):,} for gates, of {len(materials.dataset.full_train):,}"
        )
    if final.note:
        without = ", so nothing stops it early" if final.held_out is None and settings.retrain.patience else ""
        listener.say(f"held out  {final.note}{without}")
    pixels = materials.training_pixels(final.training, settings.retrain.augmentation, listener)
    weights = class_weights(pixels, materials)
    taught = taught_labels(run, materials, final.training, listener)
    started = time.monotonic()
    run.log("retrain", "started", hardware=materials.hardware.to_json())
    kept = compute_first_blocks(model, pixels, settings.retrain, materials, run, "retrain", listener)
    stopping = _early_stopping(run, materials, model, subnet, final, listener)
    processes = materials.hardware.processes
    title = "retraining the winner" if given_subnet(run) is None else "training the subnet"
    is_over = stopping is not None and processes.of_first(stopping.resume)
    with listener.bar(title, settings.retrain.epochs, "epochs") as bar:
        losses = (
            []
            if is_over
            else train(
                model,
                pixels,
                materials.backbone.preprocessing,
                lambda *_: (subnet,),
                settings.retrain,
                materials.hardware,
                seed=(settings.seed, _RETRAIN),
                checkpoint=run.path("retrain", CHECKPOINT_FILE),
                bar=bar,
                say=listener.say,
                stage="retrain",
                remedy=f"Train it in a new run with a lower learning rate: {_train_slower(run, settings.retrain)}",
                class_weights=weights,
                kept=kept,
                soft_labels=None if taught is None else taught.shares,
                enough=(lambda: False) if stopping is None else stopping.measure,
            )
        )
    if stopping is not None:
        losses = processes.of_first(stopping.go_back)
        trained, planned = len(stopping.losses), settings.retrain.epochs
        told = f"kept      epoch {stopping.best} of {planned}"
        if trained < planned:
            told = f"stopped   after {trained} of {counted(planned, 'epochs')}, back to epoch {stopping.best}"
        listener.say(f"{told}, with the lowest cross-entropy on the held-out images, {min(stopping.losses):.3f}")
    warning = ""
    if taught is None:  # a teacher's labels are vague: the loss is high whatever was learned
        warning = doubt("The subnet", losses[-1], pixels.labels, "retrain", settings.retrain, weights)
    if warning:
        listener.say(f"WARNING   {warning}")
    fitted, why_none = processes.of_first(lambda: _fit_temperature(run, materials, model, subnet, listener))
    listener.say(f"softmax   {spell_temperature(fitted, why_none)}")
    result = {
        "subnet": subnet.to_json(),
        "parameters": subnet.parameter_count(model.sizes),
        "head_parameters": sum(parameter.numel() for parameter in model.head.parameters()),
        "images": len(pixels),
        **({"held_out": held_out} if held_out else {}),
        **({"held_out_note": final.note} if final.note else {}),
        **({"teachers": list(taught.teachers)} if taught else {}),
        **({"early_stopping": stopping.to_json()} if stopping else {}),
        "temperature": kept_temperature(fitted, why_none),
        "seed": settings.seed,
        "hardware": materials.hardware.to_json(),
        "settings": settings.retrain.model_dump(mode="json"),
        "losses": losses,
    }
    run.write_json(result, "retrain", "model.json")
    run.log("retrain", "finished", seconds=round(time.monotonic() - started, 1), loss=losses[-1], warning=warning)
    seal_retrained(run)
    return result


def _early_stopping(
    run: Run, materials: Materials, model: Supernet, subnet: Subnet, final: FinalImages, listener: Listener
) -> EarlyStopping | None:
    patience = materials.settings.retrain.patience
    if not patience or final.held_out is None:
        return None
    pixels = materials.pixels(final.held_out.stopping, "held-out", listener)
    return EarlyStopping(run.path("retrain", CHECKPOINT_FILE), model, subnet, pixels, materials, patience)


def _fit_temperature(
    run: Run, materials: Materials, model: Supernet, subnet: Subnet, listener: Listener
) -> tuple[Temperature | None, str]:
    load_weights(read_checkpoint(run.path("retrain", CHECKPOINT_FILE)), model)  # of the best epoch, or averaged
    return fitted_temperature(model.eval(), subnet, materials, listener)


def evaluate_test(run: Run, materials: Materials, listener: Listener) -> dict[str, Any]:
    """Evaluate the retrained winner on the test set, which is opened here for the first time.

    Returns:
        The content of eval/test.json.

    Raises:
        DataError: If the test images are copies of those that it was trained on, unless `data.allow_copies` is set.
    """
    model, subnet = load_retrained(run, materials)
    opened = materials.open_test(listener, listing=refused_list(run, "test.json"))
    classes = materials.dataset.classes
    split = opened.split
    test = TestImages(run, materials, split)
    pixels = materials.pixels(test.split, "test", listener)
    with listener.bar("evaluating on the test split", len(pixels), "images") as bar:
        logits = merged_logits(model, subnet, pixels, materials, bar)
    predicted = predicted_labels(logits)
    temperature, _ = read_temperature(run)
    value = None if temperature is None else temperature.value
    result = {
        "split": "test",
        "subnet": subnet.to_json(),
        "hardware": materials.hardware.to_json(),
        **opened.to_json(),
        **describe(logits, pixels.labels, classes, value),
        "duplicates": test.compare(predicted == pixels.labels),
    }
    told = confidences(logits if value is None else at_temperature(logits, value))
    images = hash_images(split, materials.settings.data)
    predictions = KeptPredictions(fingerprint_split(split, classes), pixels.labels, predicted, told, images)
    if (earlier := read_earlier(run)) is not None:
        result["earlier"] = compare_with_earlier(earlier, predictions)
    break_seal(run, result_place("test.json"))
    keep_damaged(run, opened, "test.json")
    write_predictions(run, predictions, "test.json")
    keep_mistakes(run, predictions, pixels)
    run.write_json(result, "eval", "test.json")
    seal_result(run, "test.json")
    run.log("eval", "finished", correct=result["correct"], total=result["total"])
    return result


def compare_with_earlier(earlier: Earlier, predictions: KeptPredictions) -> dict[str, Any]:
    """Compare the test images that the earlier run was tested on: how many it had right, and how many are right now."""
    before, right = earlier.tested_right, predictions.right.tolist()
    both = [(before[image], now) for image, now in zip(predictions.images or (), right, strict=True) if image in before]
    return {
        "run": f"{earlier.run} or a run before it" if earlier.tested_before else earlier.run,
        "images": len(both),
        "right_before": sum(one for one, _ in both),
        "right_after": sum(now for _, now in both),
    }


def _train_slower(run: Run, settings: RetrainSettings) -> str:
    """The command that trains the same subnet in a new run with a lower learning rate."""
    given = run.description().get("given")
    subnet, like = shlex.quote(str(run.path("search", "best.json"))), run.option
    if given is not None:
        spelling = str(given.get("spelling"))
        subnet = shlex.quote(spelling)
        if spelling.startswith(FRONT):  # it only has a meaning in the run that was searched
            like = Run(run.folder.parent.parent / str(given.get("searched"))).option
    fresh = " --set retrain.inherit=false" if settings.inherit else ""
    rate = lower_learning_rate(settings.learning_rate)
    return f"noah retrain --subnet {subnet} --run {like} --set retrain.learning_rate={rate}{fresh}"


def load_retrained(run: Run, materials: Materials) -> tuple[Supernet, Subnet]:
    """Load the trained subnet: a supernet of exactly its size, in evaluation mode, and its widths.

    Raises:
        CommandOrderError: If its retraining has not finished, or the search has another winner since.
        RunError: If it left out other images than the materials say.
    """
    if not run.path("retrain", "model.json").is_file():
        started = run.path("retrain", CHECKPOINT_FILE).exists()
        raise CommandOrderError(
            f"The subnet of {run.name} has not been retrained{' to its end' if started else ''}.",
            f"Type: noah retrain {'--resume ' if started else ''}--run {run.option}",
        )
    check_still_chosen(run)
    subnet = read_subnet(run, "retrain", "model.json")
    stored = run.read_json("retrain", "model.json").get("held_out")
    check_held_out(run, stored, describe_held_out(final_images(materials), materials))
    model = build_supernet(materials, subnet, materials.settings.retrain)
    load_weights(read_checkpoint(run.path("retrain", CHECKPOINT_FILE)), model)
    return model.eval(), subnet
