"""Predicts images: threads decode them ahead, the model runs them in batches, and each batch is written at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from export.predict.image_batches import read_ahead
from export.predict.prediction_table import PredictionWriter
from export.predict.predictor import Predictor
from noah.data.decode import Remark
from noah.errors import UsageError

BATCHES_AHEAD = 2
"""Batches decoded while the model works: one that is ready to run next, and one being filled."""

NOT_FINITE = "the model's output is not finite"


@dataclass(frozen=True)
class PredictionSummary:
    """The counts and times of one call of `predict`.

    Attributes:
        images: Number of images predicted and written.
        failures: (path, cause) of each image that was not, batch by batch.
        remarks: (path, remark) for what was done to some images when they were decoded (`noah.data.decode.Remark`).
        seconds: Duration of the whole call.
        seconds_waiting: The part of it in which the model waited for images to be decoded.
        seconds_model: The part of it in which the model ran, normalization included.
    """

    images: int
    failures: tuple[tuple[str, str], ...]
    remarks: tuple[tuple[str, Remark], ...]
    seconds: float
    seconds_waiting: float
    seconds_model: float

    @property
    def images_per_second(self) -> float:
        """Images predicted per second of the whole call; 0 if there were none."""
        return self.images / self.seconds if self.seconds else 0.0


def predict(
    predictor: Predictor,
    paths: Iterable[Path],
    writer: PredictionWriter,
    *,
    batch_size: int = 32,
    workers: int = 2,
    top_k: int = 1,
    progress: Callable[[int], None] | None = None,
) -> PredictionSummary:
    """Predict every image and write its most likely classes, in the order of `paths`.

    An image that cannot be read, or for which the model's output is not finite, is counted as a failure and the rest go
    on. Equally likely classes keep the model's order.

    Args:
        predictor: Gives the probabilities.
        paths: Read as needed; memory grows only with the number of failures.
        writer: An open writer, made for the same `top_k`.
        batch_size: Images in one run of the model.
        workers: Threads that decode images.
        top_k: Labels per image, at most the number of classes.
        progress: Called after each batch with the number of its images, failures included.

    Raises:
        UsageError: If `top_k` is not between 1 and the number of classes.
        ArtifactError: If the model fails.
    """
    if not 1 <= top_k <= len(predictor.classes):
        raise UsageError(f"top_k is {top_k}, but this artifact has {len(predictor.classes)} classes.")
    images, seconds_waiting, seconds_model = 0, 0.0, 0.0
    failures: list[tuple[str, str]] = []
    remarks: list[tuple[str, Remark]] = []
    start = mark = time.perf_counter()
    preprocessing, decoding = predictor.preprocessing, predictor.decoding
    with closing(
        read_ahead(paths, preprocessing, decoding, batch_size=batch_size, workers=workers, depth=BATCHES_AHEAD)
    ) as batches:
        for batch in batches:
            decoded = time.perf_counter()
            seconds_waiting += decoded - mark
            failures += [(str(path), cause) for path, cause in batch.failures]
            remarks += [(str(path), remark) for path, remark in batch.remarks]
            if batch.paths:
                probabilities = predictor.probabilities(batch.pixels)
                seconds_model += time.perf_counter() - decoded
                refused = _write_likeliest(writer, batch.paths, probabilities, predictor.classes, top_k)
                failures += [(str(path), NOT_FINITE) for path in refused]
                images += len(batch.paths) - len(refused)
            if progress is not None:
                progress(len(batch.paths) + len(batch.failures))
            mark = time.perf_counter()
    return PredictionSummary(
        images, tuple(failures), tuple(remarks), time.perf_counter() - start, seconds_waiting, seconds_model
    )


def _write_likeliest(
    writer: PredictionWriter,
    paths: Sequence[Path],
    probabilities: npt.NDArray[np.float32],
    classes: Sequence[str],
    count: int,
) -> list[Path]:
    """Write the `count` most likely classes of every finite row, and give the paths of the other rows."""
    finite: list[int] = np.flatnonzero(np.isfinite(probabilities).all(axis=1)).tolist()
    probabilities = probabilities[finite]
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]  # stable: equal ones keep the model's order
    writer.write(
        [paths[row] for row in finite],
        [[classes[index] for index in row] for row in order.tolist()],
        np.take_along_axis(probabilities, order, axis=1),
    )
    written = set(finite)
    return [path for row, path in enumerate(paths) if row not in written]
