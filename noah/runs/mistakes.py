"""The most confident mistakes in a test, stored with small pictures while its images are at hand.

Only `noah eval` opens the test set, so anyone who wants to see later what went wrong needs them to be stored.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BeforeValidator, PlainSerializer

from noah.data.pixels.pixels import Pixels
from noah.errors import RunError
from noah.files.foreign_text import printable
from noah.files.record import Record
from noah.runs.folder import Run
from noah.runs.kept_predictions import KeptPredictions, short_name

MISTAKES_FILE = "mistakes.json"
"""The file with the mistakes, below eval/."""
KEPT = 12
"""How many mistakes of a test are stored."""
SIDE = 112
"""The longest side of a stored picture in pixels; smaller pictures stay as they are."""

_Base64 = Annotated[
    bytes,
    BeforeValidator(lambda text: base64.b64decode(text, validate=True)),
    PlainSerializer(lambda content: base64.b64encode(content).decode("ascii")),
]


@dataclass(frozen=True, slots=True)
class Mistake(Record):
    """An image that a network got wrong.

    Args:
        name: The image's folder and file, or the dataset's name for it.
        label: The true class.
        predicted: The predicted class.
        confidence: The softmax probability of the predicted class, 0..1.
        picture: The image as the network saw it, as a PNG or JPEG file.
    """

    name: str
    label: int
    predicted: int
    confidence: float
    picture: _Base64

    @property
    def media_type(self) -> str:
        """The picture's media type, image/png or image/jpeg."""
        return "image/png" if self.picture.startswith(b"\x89PNG") else "image/jpeg"


def most_confident_mistakes(predictions: KeptPredictions, count: int = KEPT) -> NDArray[np.int64]:
    """The indices of the misclassified images with the highest confidence, highest first, and earlier ones before ties.

    Raises:
        ValueError: If the confidences were not stored.
    """
    if predictions.confidence is None:
        raise ValueError("these predictions have no confidences")
    wrong = np.flatnonzero(~predictions.right)
    order = np.argsort(-predictions.confidence[wrong], kind="stable")
    chosen: NDArray[np.int64] = wrong[order][:count]
    return chosen


def keep_mistakes(run: Run, predictions: KeptPredictions, pixels: Pixels) -> None:
    """Write the most confident mistakes behind the result eval/test.json.

    Args:
        run: The run that was tested.
        predictions: The predictions of the test, with confidences.
        pixels: The images of the test.
    """
    chosen = most_confident_mistakes(predictions)
    assert predictions.confidence is not None  # otherwise the line above has raised
    pictures = map(_picture, pixels.batch(chosen)) if len(chosen) else ()
    kept = [
        Mistake(
            printable(short_name(pixels.name(int(index)))),
            int(predictions.labels[index]),
            int(predictions.predicted[index]),
            round(float(predictions.confidence[index]), 5),
            picture,
        )
        for index, picture in zip(chosen, pictures, strict=True)
    ]
    value = {"fingerprint": predictions.fingerprint, "mistakes": [mistake.to_json() for mistake in kept]}
    run.write_json(value, "eval", MISTAKES_FILE)


def read_mistakes(run: Run, fingerprint: str) -> tuple[Mistake, ...] | None:
    """Read the stored mistakes, the most confident first; None if there are none, or they belong to another test set.

    Args:
        run: The run that was tested.
        fingerprint: The fingerprint of the test set (`noah.runs.kept_predictions`).

    Raises:
        RunError: If they are damaged.
    """
    if not run.path("eval", MISTAKES_FILE).is_file():
        return None
    value = run.read_json("eval", MISTAKES_FILE)
    try:
        if value["fingerprint"] != fingerprint:
            return None
        return tuple(Mistake.from_json(mistake) for mistake in value["mistakes"])
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"{run.path('eval', MISTAKES_FILE)} holds no mistakes.", f"Type: noah eval --again --run {run.option}"
        ) from error


def _picture(pixels: NDArray[np.uint8]) -> bytes:
    """Save pixels, uint8, (height, width, 3), as a small file, without loss if the image is small anyway."""
    image = Image.fromarray(pixels)
    file = io.BytesIO()
    if max(image.size) <= SIDE:
        image.save(file, "PNG", optimize=True)
    else:
        image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
        image.save(file, "JPEG", quality=85)
    return file.getvalue()
