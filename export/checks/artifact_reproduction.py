"""Measures a run's artifacts again, and compares with the accuracy that the run stores for them."""

from __future__ import annotations

from collections.abc import Iterator

from export.artifact.manifest import read_manifest
from export.checks.artifact_accuracy import artifact_logits, materials_of
from export.checks.belonging import artifacts
from export.formats.load import load_predictor
from export.formats.registry import model_files
from export.formats.runnable import Runnable, first_here, runnables
from export.runtime.onnx_session import is_cpu
from noah.checks.reproduction import changed_labels, check_agreement, stored_score, stored_test_pixels
from noah.checks.verification import Check
from noah.errors import ArtifactError, MissingPackageError, NoahError, NotHereError
from noah.evaluation.score import predicted_labels, score
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.runs.folder import Run
from noah.runs.stored_results import read_result


def reproduce_artifacts(run: Run, materials: Materials, listener: Listener) -> Iterator[Check]:
    """Measure again each artifact whose result is stored, if it runs here on the provider that it ran on then."""
    for folder in artifacts(run):
        try:
            models = runnables(folder, read_manifest(folder))
        except ArtifactError:  # `check_artifacts` reports it
            continue
        measured = [model for model in models if run.path("eval", *model.result(run)).is_file()]
        if models and not measured:
            here = first_here(models)
            why = "it has not been measured" + ("" if here else f", and {models[0].why_not_here}")
            yield Check(f"accuracy of {folder.name}", "absent", why, here.eval_command if here else "")
        for model in measured:
            try:
                yield _reproduce(run, model, materials, listener)
            except NoahError as error:
                yield Check(f"accuracy of {model.name}", "failed", error.problem, f"{model.eval_command} --again")


def _reproduce(run: Run, model: Runnable, materials: Materials, listener: Listener) -> Check:
    place = model.result(run)
    result = read_result(run, "eval", *place)
    what = f"accuracy of {model.name}"
    try:
        was_on_cpu = is_cpu(result.get("provider")) and model_files()[model.file].takes_provider
        predictor = load_predictor(
            model.path, provider="cpu" if was_on_cpu else None, threads=materials.hardware.threads
        )
    except (NotHereError, MissingPackageError) as error:
        return Check(what, "absent", error.problem)
    if result.get("provider") != predictor.provider:
        return Check(
            what, "absent", f"it was measured on {result.get('provider')}; here it runs on {predictor.provider}"
        )
    materials = materials_of(predictor, materials)
    pixels, kept = stored_test_pixels(run, materials, listener, *place)
    with listener.bar(f"evaluating {model.name}", len(pixels), "images") as bar:
        logits = artifact_logits(predictor, pixels, materials.evaluation_batch_size, bar)
    stored, found = stored_score(result), score(logits, pixels.labels)
    changed = changed_labels(kept, predicted_labels(logits), stored, found)
    precision = "fp32" if predictor.manifest.precision == "fp32" else "bf16"
    return Check(what, "ok", check_agreement(stored, found, changed, {precision}))
