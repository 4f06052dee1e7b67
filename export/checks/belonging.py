"""Checks that a run's artifacts were made from its weights, and results from its artifacts; it needs no torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from export.artifact.manifest import MANIFEST_FILE, Manifest, check_files, read_manifest
from export.artifact.origin import temperature_of
from export.formats.runnable import Runnable, runnables
from noah.checks.verification import Check
from noah.data.decoding import AS_STORED
from noah.errors import ArtifactError, NoahError
from noah.runs.export_command import export_command
from noah.runs.folder import RUN_FILE, Run
from noah.runs.run_subnet import read_subnet
from noah.runs.seals import hash_file
from noah.runs.stored_results import read_result
from noah.space.subnet import Subnet
from noah.training.checkpoint_file import CHECKPOINT_FILE


def artifacts(run: Run) -> list[Path]:
    """List the folders of a run's finished artifacts, sorted by name."""
    return sorted(path.parent for path in run.path("export").glob(f"*/{MANIFEST_FILE}") if path.parent.name[0] != ".")


def check_artifacts(run: Run) -> Iterator[Check]:
    """Check each artifact's files against its manifest, the manifest against the run, and results against both."""
    found = artifacts(run)
    if not found:
        yield Check("artifacts", "absent", "none was exported", f"noah export --format onnx --run {run.option}")
    for folder in found:
        try:
            manifest = read_manifest(folder)
            check_files(manifest, folder)
            _check_origin(run, manifest)
            models = runnables(folder, manifest)
        except NoahError as error:
            yield Check(f"artifact {folder.name}", "failed", error.problem, export_command(run.folder, folder.name))
            continue
        yield Check(f"artifact {folder.name}", "ok", "its files, weights, subnet and classes match the run")
        for model in models:
            if run.path("eval", *model.result(run)).is_file() and (problem := _problem_of_result(run, model, manifest)):
                yield Check(f"result of {model.name}", "failed", problem, f"{model.eval_command} --again")


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
        ("temperature", manifest.temperature, temperature_of(run)),
        ("preprocessing", _at_searched_size(manifest), description.get("preprocessing")),
    ]
    for what, in_manifest, in_run in told:
        if in_manifest != in_run:
            of_run = ("classes", "preprocessing", "decoding", "training images")
            other = {
                "a subnet": "another subnet than the retrained one",
                "temperature": "another temperature than the run's",
            }.get(what, f"other {what}")
            place = f"; {RUN_FILE} says otherwise" if what in of_run else ""
            raise ArtifactError(f"It was made from {other}{place}.")


def _at_searched_size(manifest: Manifest) -> dict[str, Any]:
    """The preprocessing of an artifact, with the search's image size in place of one chosen at export."""
    if manifest.resized is None:
        return manifest.preprocessing
    height, width = manifest.resized.searched_size
    return {**manifest.preprocessing, "height": height, "width": width}
