"""Measures again what a run stored: the winner on the validation set, and the retrained subnet on the test set.

On the machine that computed them, the figures are reproduced exactly, every predicted label and the cross-entropy.
Other machines round differently, and so do other batch sizes, such as those of a race. In float32, one image in a
thousand may therefore change its label, and the cross-entropy may change by one part in ten thousand; if either side
computed in bf16, one image in a hundred, and one part in fifty.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noah.checks.verification import RESTORE, Check, checked
from noah.data.pixels.pixels import Pixels
from noah.data.split import Split
from noah.errors import RunError
from noah.evaluation.score import Score, predicted_labels, score
from noah.nas.candidate import Candidate
from noah.nas.candidate_evaluation import candidate_logits
from noah.prepare.build import load_supernet
from noah.prepare.context import Materials, check_same_data
from noah.progress import Listener
from noah.runs.folder import Run
from noah.runs.kept_predictions import KeptPredictions, fingerprint_split, read_predictions
from noah.runs.run_subnet import given_subnet
from noah.runs.run_temperature import has_fitted, read_temperature
from noah.stages.conclude_search import read_winner
from noah.stages.fitted_temperature import fitted_temperature
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import load_retrained, read_result

ALLOWED = {"fp32": (0.001, 1e-4), "bf16": (0.01, 0.02)}
"""For each precision, the share of images that may change their label, and the relative change of the cross-entropy."""
_EXACT = 1e-9
"""The relative difference up to which two cross-entropies count as the same, since one was stored as decimal text."""


_TEMPERATURE = {"fp32": 1e-3, "bf16": 0.05}
"""For each precision, the relative change of the temperature that rounding may cause."""


def reproduce(run: Run, materials: Materials, listener: Listener) -> Iterator[Check]:
    """Measure again every stored figure, with the stored weights; nothing is written.

    The test set is opened only if there is a stored result for it.
    """
    try:
        check_same_data(run, materials)
    except RunError as error:
        yield Check("images", "failed", error.problem, "Restore the images that the run was started with.")
        return
    data = materials.dataset
    yield Check(
        "images", "ok", f"{len(data.train):,} for training and {len(data.validation):,} for validation, as named"
    )
    if given_subnet(run) is None:
        if run.path("search", "best.json").is_file():
            yield checked("accuracy of the winner", RESTORE, lambda: _reproduce_winner(run, materials, listener))
        else:
            yield Check("accuracy of the winner", "absent", "the search has not finished")
    if has_fitted(run):
        again = f"noah retrain --restart --run {run.option}"
        yield checked("temperature", again, lambda: _reproduce_temperature(run, materials, listener))
    if run.path("eval", "test.json").is_file():
        again = f"noah eval --again --run {run.option}"
        yield checked("accuracy of the test", again, lambda: _reproduce_test(run, materials, listener))
    else:
        yield Check(
            "accuracy of the test", "absent", "the test split was not measured", f"noah eval --run {run.option}"
        )


def check_agreement(stored: Score, found: Score, changed: int, precisions: set[str]) -> str:
    """Say in words how closely two figures agree.

    Args:
        stored: The stored score.
        found: The score as measured now.
        changed: The number of images whose label changed, or that are right in only one of the two.
        precisions: The precisions in which they were computed, then and now.

    Raises:
        RunError: If they do not agree.
    """
    share, relative = ALLOWED["bf16" if "bf16" in precisions else "fp32"]
    difference = abs(found.cross_entropy - stored.cross_entropy) / max(abs(stored.cross_entropy), 1e-12)
    both = f"{stored.correct:,} of {stored.total:,} right"
    if stored.total == found.total and not changed and difference <= _EXACT:
        return f"{both} again, exactly"
    told = f"{changed:,} of {found.total:,} images changed, cross-entropy by {difference:.1e}"
    if stored.total != found.total or changed > share * found.total or not difference <= relative:
        raise RunError(f"It is not reproduced: stored {both}, found {found.correct:,} of {found.total:,}; {told}.")
    return f"{both} again but for rounding: {told}"


def stored_test_pixels(
    run: Run, materials: Materials, listener: Listener, *parts: str
) -> tuple[Pixels, KeptPredictions | None]:
    """Load the test images, after checking that they are those of the stored result, and its predictions, if kept.

    Args:
        run: The run that stored the result.
        materials: Gives the dataset.
        listener: Receives the progress.
        parts: The path of the result below eval/.

    Raises:
        RunError: If the images or their labels are not those that were measured.
    """
    split = _measured_split(run, materials, listener, *parts)
    kept = read_predictions(run, *parts) if run.path("eval", "predictions", *parts).is_file() else None
    if kept and kept.fingerprint != fingerprint_split(split, materials.dataset.classes):
        raise RunError("The images or labels of the test split are not those that were measured.")
    return materials.pixels(split, "test", listener), kept


def _measured_split(run: Run, materials: Materials, listener: Listener, *parts: str) -> Split:
    """The test images of a stored result; they are looked at first only if some had to be left out of it."""
    if not read_result(run, "eval", *parts).get("left_out"):
        return materials.dataset.load_test()
    # However many they are: the result itself says that they were allowed to be left out.
    allowed = materials.settings.data.model_copy(update={"damaged": "skip", "damaged_share": 1.0})
    settings = materials.settings.model_copy(update={"data": allowed})
    return replace(materials, settings=settings).open_test(listener).split


def changed_labels(kept: KeptPredictions | None, predicted: NDArray[np.int64], stored: Score, found: Score) -> int:
    """Count the images whose label changed; if no labels were kept, the difference in the number of right ones."""
    if kept is None or len(kept.predicted) != len(predicted):
        return abs(stored.correct - found.correct)
    return int((kept.predicted != predicted).sum())


def _reproduce_winner(run: Run, materials: Materials, listener: Listener) -> str:
    candidate = Candidate.from_json(read_winner(run))
    if candidate.outcome.shown is not None:
        raise RunError("The winner was given up in the race: it cannot be the winner.")
    validation = materials.pixels(materials.dataset.validation, "validation", listener)
    ask = candidate_logits(
        load_supernet(run, materials),
        validation,
        materials.backbone.preprocessing,
        materials.hardware,
        materials.evaluation_batch_size,
    )
    logits = ask(candidate.subnet, np.arange(len(validation)))
    found = score(logits, validation.labels)
    wrong = set((predicted_labels(logits) != validation.labels).nonzero()[0].tolist())
    changed = len(wrong ^ set(candidate.outcome.wrong))
    return check_agreement(candidate.score, found, changed, {materials.hardware.precision})


def _reproduce_temperature(run: Run, materials: Materials, listener: Listener) -> str:
    """Fit it again, or find again that there are no images to fit it on."""
    kept, why_none = read_temperature(run)
    model, subnet = load_retrained(run, materials)
    found, why = fitted_temperature(model, subnet, materials, listener)
    if kept is None or found is None:
        if kept is not found:
            raise RunError(f"It is not reproduced: stored {why_none or 'a temperature'}, found {why or 'one'}.")
        return f"none again, as {why}"
    then = str((run.read_json("retrain", "model.json").get("hardware") or {}).get("precision", "fp32"))
    precisions = {materials.hardware.precision, then}
    difference = abs(found.value / kept.value - 1)
    if found.images != kept.images or difference > _TEMPERATURE["bf16" if "bf16" in precisions else "fp32"]:
        raise RunError(f"It is not reproduced: stored {kept.value:.6g}, found {found.value:.6g}.")
    return f"{kept.value:.3g} again, {'exactly' if difference <= _EXACT else f'but for {difference:.1e}'}"


def _reproduce_test(run: Run, materials: Materials, listener: Listener) -> str:
    result = read_result(run, "eval", "test.json")
    model, subnet = load_retrained(run, materials)
    pixels, kept = stored_test_pixels(run, materials, listener, "test.json")
    with listener.bar("evaluating on the test split", len(pixels), "images") as bar:
        logits = merged_logits(model, subnet, pixels, materials, bar)
    found, stored = score(logits, pixels.labels), stored_score(result)
    then = str((result.get("hardware") or {}).get("precision", "fp32"))
    changed = changed_labels(kept, predicted_labels(logits), stored, found)
    return check_agreement(stored, found, changed, {materials.hardware.precision, then})


def stored_score(result: dict[str, Any]) -> Score:
    """The score in a stored result."""
    return Score(result["correct"], result["total"], result["cross_entropy"])
