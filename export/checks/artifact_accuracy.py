"""Measures an artifact on the test split of the run that it came from."""

from __future__ import annotations

import shlex
from typing import Any

import numpy as np

from export.artifact.origin import origin
from export.predict.predictor import Predictor
from noah.data.pixels.originals import Originals
from noah.data.pixels.pixels import Pixels
from noah.errors import ArtifactError
from noah.evaluation.reliability import confidences
from noah.evaluation.score import Logits, describe, finite_rows, predicted_labels
from noah.evaluation.temperature import at_temperature
from noah.prepare.common_images import TestImages
from noah.prepare.context import Materials, at_image_size
from noah.progress import Bar, Listener
from noah.runs.artifact_results import ARTIFACT
from noah.runs.damaged_images import keep_damaged, refused_list
from noah.runs.folder import Run
from noah.runs.kept_predictions import KeptPredictions, fingerprint_split, write_predictions
from noah.runs.seals import break_seal, result_place, seal_result


def evaluate_artifact(
    predictor: Predictor, run: Run, materials: Materials, listener: Listener, file_name: str
) -> dict[str, Any]:
    """Run an artifact over the test split, at the image size that it takes.

    Args:
        predictor: The artifact.
        run: The run whose data it is measured on.
        materials: The run's dataset.
        listener: Shows the progress.
        file_name: The file under eval/artifact/ that keeps the result.

    Returns:
        The content of that file.

    Raises:
        ArtifactError: If the artifact has other classes, preprocessing, decoding, images or weights than the run:
            images that it was trained on could be in the run's test split.
    """
    materials = materials_of(predictor, materials)
    own = (materials.dataset.classes, materials.backbone.preprocessing, materials.intake.decoding)
    if (predictor.classes, predictor.preprocessing, predictor.decoding) != own:
        raise ArtifactError(
            f"The artifact was not exported from {run.name}: its classes, preprocessing or decoding differ.",
            "Name its own run with --run.",
        )
    found, expected = predictor.manifest.run, origin(run, materials)
    if found.data != expected.data:
        raise ArtifactError(
            f"The artifact was exported from {found.name}, whose images are split differently from {run.name}'s.",
            f"Name its own run: --run {shlex.quote(found.name)}",
        )
    if found.weights != expected.weights:
        raise ArtifactError(
            f"The artifact was exported from {found.name}, with other weights than {run.name} has now.",
            f"Name its own run with --run, or export it again: noah export --format onnx --run {run.option}",
        )
    opened = materials.open_test(listener, listing=refused_list(run, ARTIFACT, file_name))
    classes = materials.dataset.classes
    split = opened.split
    test = TestImages(run, materials, split)
    if predictor.takes_images:
        pixels = Pixels(test.split, predictor.preprocessing, None, "The artifact resizes images itself.")
    else:
        pixels = materials.pixels(test.split, "test", listener)
    with listener.bar("evaluating on the test split", len(pixels), "images") as bar:
        logits = artifact_logits(predictor, pixels, materials.evaluation_batch_size, bar)
    fitted = predictor.manifest.temperature
    predicted = predicted_labels(logits)
    result = {
        "split": "test",
        "provider": predictor.provider,
        "files": predictor.manifest.file_hashes,
        **opened.to_json(),
        **describe(logits, pixels.labels, classes, None if fitted is None else fitted.value),
        "duplicates": test.compare(predicted == pixels.labels),
    }
    told = confidences(at_temperature(logits, predictor.manifest.softmax_temperature))
    predictions = KeptPredictions(fingerprint_split(split, classes), pixels.labels, predicted, told)
    break_seal(run, result_place(ARTIFACT, file_name))
    keep_damaged(run, opened, ARTIFACT, file_name)
    write_predictions(run, predictions, ARTIFACT, file_name)
    run.write_json(result, "eval", ARTIFACT, file_name)
    seal_result(run, ARTIFACT, file_name)
    run.log("eval", "finished", artifact=file_name, correct=result["correct"], total=result["total"])
    return result


def materials_of(predictor: Predictor, materials: Materials) -> Materials:
    """Give a run's materials at the image size that its artifact takes.

    Raises:
        SettingsError: If the run's backbone cannot take that size.
    """
    if predictor.manifest.resized is None:
        return materials
    return at_image_size(materials, predictor.preprocessing.height)


def artifact_logits(predictor: Predictor, pixels: Pixels, batch_size: int, bar: Bar) -> Logits:
    """Compute an artifact's logits (n, classes); from probabilities, they are known up to a constant per image.

    Args:
        predictor: The artifact.
        pixels: The images at the size that it takes; if it takes images of any size, those of the split are decoded.
        batch_size: Images at a time.
        bar: Counts the images that are done.

    Raises:
        ArtifactError: If some are not finite.
    """
    batches, originals = [], Originals(pixels.split, [], "Each is needed once.")
    for start in range(0, len(pixels), batch_size):
        stop = min(start + batch_size, len(pixels))
        indices = np.arange(start, stop)
        images = map(predictor.pixels, originals.images(indices)) if predictor.takes_images else pixels.batch(indices)
        batches.append(predictor.run(list(images)))
        bar.update(stop)
    outputs: Logits = np.concatenate(batches)
    finite = finite_rows(outputs)
    if not finite.all():
        raise ArtifactError(
            f"The artifact's outputs are not finite for {(~finite).sum():,} of {len(outputs):,} images.",
            "Retrain its winner with a lower learning rate, and export that."
            if predictor.manifest.precision == "fp32"
            else "Export it again in another precision, such as --precision fp32.",
        )
    if predictor.manifest.output.values == "logits":
        return outputs
    return np.float32(predictor.manifest.softmax_temperature) * np.log(np.maximum(outputs, 1e-30))
