"""What a test predicted for each of its images, kept so that two runs can be compared image by image.

eval/<name>.json says how accurate a network was; eval/predictions/<name>.json has the labels it predicted, and how
confidently. The second is written first, so if the first exists, both do. It includes a fingerprint of the test set, so
that predictions are only compared if images and labels are the same, without opening the test set again.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noah.data.split import Split
from noah.errors import RunError
from noah.files.atomic import write_json
from noah.runs.folder import Run
from noah.runs.run_images import Hashes, pack_hashes, unpack_hashes

FOLDER = "predictions"
"""The folder of predictions, below eval/."""
_NAMED_BY = 2
"""How many parts at the end of a path identify an image: its folder and file, wherever the dataset is."""
_DIGITS = 5
"""The number of decimal places of a stored confidence."""


@dataclass(frozen=True, slots=True, eq=False)
class KeptPredictions:
    """The labels of a test's images, true and predicted, in the order of the split.

    Args:
        fingerprint: The fingerprint of the split, see `fingerprint_split`.
        labels: The true labels, int64, (n,).
        predicted: The predicted labels, int64, (n,).
        confidence: The softmax probability of each predicted label, float64, (n,); None if an earlier version tested.
        images: The hash of each image (`noah.runs.run_images`); None if an earlier version tested.
    """

    fingerprint: str
    labels: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64] | None = None
    images: Hashes | None = None

    @property
    def right(self) -> NDArray[np.bool_]:
        """Which images were classified correctly, (n,)."""
        right: NDArray[np.bool_] = self.labels == self.predicted
        return right


def fingerprint_split(split: Split, classes: tuple[str, ...]) -> str:
    """Hash the classes, and the names and labels of the images in order; moving the folder does not change the hash.

    Args:
        split: The images, none of which is opened.
        classes: The name of each label.
    """
    digest = hashlib.sha256(json.dumps(classes).encode())
    digest.update(np.ascontiguousarray(split.labels).tobytes())
    for index in range(len(split)):
        digest.update(os.fsencode(short_name(split.name(index))) + b"\n")
    return digest.hexdigest()


def short_name(name: str) -> str:
    """The end of an image's name, which stays the same wherever the dataset is."""
    return Path(*Path(name).parts[-_NAMED_BY:]).as_posix()


def write_predictions(run: Run, predictions: KeptPredictions, *parts: str) -> None:
    """Write the predictions behind the result eval/PARTS atomically, as one line of JSON with a few bytes per image.

    Args:
        run: The run that was tested.
        predictions: The predictions to write.
        parts: The path of the result below eval/, such as "test.json".
    """
    value: dict[str, Any] = {
        "fingerprint": predictions.fingerprint,
        "labels": predictions.labels.tolist(),
        "predicted": predictions.predicted.tolist(),
    }
    if predictions.confidence is not None:
        value["confidence"] = [round(confidence, _DIGITS) for confidence in predictions.confidence.tolist()]
    if predictions.images is not None:
        value["images"] = pack_hashes(predictions.images)
    write_json(run.path("eval", FOLDER, *parts), value, indent=None)


def read_predictions(run: Run, *parts: str) -> KeptPredictions:
    """Read the predictions behind the result eval/PARTS.

    Raises:
        RunError: If they are missing or damaged.
    """
    again = f"Type: noah eval --again --run {run.option}"
    try:
        value = run.read_json("eval", FOLDER, *parts)
        labels, predicted = (np.array(value[key]) for key in ("labels", "predicted"))
        if labels.dtype != np.int64 or predicted.dtype != np.int64 or labels.ndim != 1:
            raise ValueError("no list of labels")
        if labels.shape != predicted.shape:
            raise ValueError(f"{len(labels)} labels and {predicted.size} predictions")
        confidence = None if value.get("confidence") is None else np.array(value["confidence"], np.float64)
        if confidence is not None and confidence.shape != labels.shape:
            raise ValueError(f"{len(labels)} labels and {confidence.size} confidences")
        images = None if value.get("images") is None else unpack_hashes(value["images"])
        if images is not None and len(images) != len(labels):
            raise ValueError(f"{len(labels)} labels and {len(images)} images")
        return KeptPredictions(str(value["fingerprint"]), labels, predicted, confidence, images)
    except RunError as error:
        raise RunError(error.problem, again) from error
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"{run.path('eval', FOLDER, *parts)} holds no predictions.", again) from error
