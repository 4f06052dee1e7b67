"""Checks that a run's artifacts were made from its weights and reach the accuracy that the run stores for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.artifact.manifest import MANIFEST_FILE, Manifest, check_files, read_manifest
from export.checks.artifact_accuracy import artifact_logits, materials_of
from export.predict.predictor import load_predictor
from export.predict.runnable import Runnable, first_here, runnables
from noah.checks.reproduction import changed_labels, check_agreement, stored_score, stored_test_pixels
from noah.checks.verification import Check
from noah.data.decoding import AS_STORED
from noah.errors import ArtifactError, MissingPackageError, NoahError, NotHereError
from noah.evaluation.score import predicted_labels, score
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.runs.folder import RUN_FILE, Run
from noah.runs.run_subnet import read_subnet
from noah.runs.seals import hash_file
from noah.space.subnet import Subnet
from noah.stages.retrain_stage import read_result
from noah.training.checkpoint import CHECKPOINT_FILE


def artifacts(run: Run) -> list[Path]:
    """List the folders of a run's finished artifacts, sorted by name."""
    return sorted(path.parent for path in run.path("export").glob(f"*/{MANIFEST_FILE}") if path.parent.name[0] != ".")


def check_artifacts(run: Run) -> Iterator[Check]:
    """Check each artifact's files against its manifest, the manifest against the run, and results against both."""
    found = artifacts(run)
    if not found:
        yield Check("artifacts", "absent", "none was exported", f"noah export --format onnx --run {run.option}")
    for folder in found:
        following = f"Export it again with: noah export --run {run.option}"
        try:
            manifest = read_manifest(folder)
            check_files(manifest, folder)
            _check_origin(run, manifest)
        except NoahError as error:
            yield Check(f"artifact {folder.name}", "failed", error.problem, following)
            continue
        yield Check(f"artifact {folder.name}", "ok", "its files, weights, subnet and classes match the run")
        for model in runnables(folder, manifest):
            if run.path("eval", *model.result(run)).is_file() and (problem := _problem_of_result(run, model, manifest)):
                yield Check(f"result of {model.name}", "failed", problem, f"{model.eval_command} --again")


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


def _problem_of_result(run: Run, model: Runnable, manifest: Manifest) -> str:
    """Say what is wrong with the stored result of an artifact; empty if nothing is."""
    try:
        result = read_result(run, "eval", *model.result(run))
    except NoahError as error:
        return error.problem
    return "" if result.get("files") == manifest.file_hashes else "it belongs to another artifact of that name"


def _check_origin(run: Run, manifest: Manifest) -> None:
    """Refuse an artifact made from other weights, data, classes, preprocessing, decoding or another subnet.

    Raises:
        ArtifactError: If any of them differs; names the first.
    """
    description = run.description()
    subnet = Subnet.from_json(manifest.subnet.root)
    checkpoint = run.path("retrain", CHECKPOINT_FILE)
    if not checkpoint.is_file():
        raise ArtifactError(f"It was exported from {manifest.run.name}, but this run holds no retrained weights.")
    as_stored = AS_STORED.to_json()
    told: list[tuple[str, Any, Any]] = [
        ("weights than the run has now", manifest.run.weights, hash_file(checkpoint)),
        ("training images", manifest.run.data, description.get("data", {}).get("fingerprint")),
        ("a subnet", subnet, read_subnet(run, "retrain", "model.json")),
        ("classes", list(manifest.classes), description.get("classes")),
        ("decoding", manifest.decoding or as_stored, description.get("images", {}).get("decoding", as_stored)),
        ("preprocessing", _at_searched_size(manifest), description.get("preprocessing")),
    ]
    for what, in_manifest, in_run in told:
        if in_manifest != in_run:
            other = "another subnet than the retrained one" if what == "a subnet" else f"other {what}"
            of_run = ("classes", "preprocessing", "decoding", "training images")
            place = f"; {RUN_FILE} says otherwise" if what in of_run else ""
            raise ArtifactError(f"It was made from {other}{place}.")


def _at_searched_size(manifest: Manifest) -> dict[str, Any]:
    """The preprocessing of an artifact, with the search's image size in place of one chosen at export."""
    if manifest.resized is None:
        return manifest.preprocessing
    height, width = manifest.resized.searched_size
    return {**manifest.preprocessing, "height": height, "width": width}


def _reproduce(run: Run, model: Runnable, materials: Materials, listener: Listener) -> Check:
    place = model.result(run)
    result = read_result(run, "eval", *place)
    what = f"accuracy of {model.name}"
    try:
        predictor = load_predictor(model.path)
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
