"""Predicts images: threads decode them ahead, the model runs them in batches, and each batch is written at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from export.predict.embeddings import EmbeddingsFile
from export.predict.image_batches import Item, read_ahead
from export.predict.prediction_table import PredictionWriter
from export.predict.predictor import Predictor
from noah.data.decode import Remark
from noah.errors import UsageError

BATCHES_AHEAD = 2
"""Batches decoded while the model works: one that is ready to run next, and one being filled."""

NOT_FINITE = "the model's output is not finite"


@dataclass(frozen=True)
class Threshold:
    """When no class is likely enough.

    Attributes:
        least: The least probability of the likeliest class, 0..1.
        other: The label of an image whose likeliest class is less probable.
    """

    least: float
    other: str


@dataclass(frozen=True)
class PredictionSummary:
    """The counts and times of one call of `predict`.

    Attributes:
        images: Number of images predicted and written.
        failures: (path, cause) of each image that was not, batch by batch.
        remarks: (path, remark) for what was done to some images when they were decoded (`noah.data.decode.Remark`).
        unsure: How many of the predicted images have no class of the least probability that was asked for.
        seconds: Duration of the whole call.
        seconds_waiting: The part of it in which the model waited for images to be decoded.
        seconds_model: The part of it in which the model ran, normalization included.
    """

    images: int
    failures: tuple[tuple[str, str], ...]
    remarks: tuple[tuple[str, Remark], ...]
    unsure: int
    seconds: float
    seconds_waiting: float
    seconds_model: float

    @property
    def images_per_second(self) -> float:
        """Images predicted per second of the whole call; 0 if there were none."""
        return self.images / self.seconds if self.seconds else 0.0


def predict(
    predictor: Predictor,
    paths: Iterable[Item],
    writer: PredictionWriter,
    *,
    batch_size: int = 32,
    workers: int = 2,
    top_k: int = 1,
    threshold: Threshold | None = None,
    embeddings: EmbeddingsFile | None = None,
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
        threshold: What an image is called that no class is likely enough for; None for its likeliest class.
        embeddings: An open file that takes the embedding of each image that is written, in the same order; the
            predictor has to be opened for it.
        progress: Called after each batch with the number of its images, failures included.

    Raises:
        UsageError: If `top_k` is not between 1 and the number of classes, or the threshold's label is a class.
        ArtifactError: If the model fails.
    """
    check_top(top_k, predictor.classes)
    check_threshold(threshold, predictor.classes)
    images, unsure, seconds_waiting, seconds_model = 0, 0, 0.0, 0.0
    failures: list[tuple[str, str]] = []
    remarks: list[tuple[str, Remark]] = []
    start = mark = time.perf_counter()
    with closing(
        read_ahead(
            paths,
            predictor.pixels,
            predictor.decoding,
            batch_size=batch_size,
            workers=workers,
            depth=BATCHES_AHEAD,
        )
    ) as batches:
        for batch in batches:
            decoded = time.perf_counter()
            seconds_waiting += decoded - mark
            failures += [(str(path), cause) for path, cause in batch.failures]
            remarks += [(str(path), remark) for path, remark in batch.remarks]
            if batch.paths:
                if embeddings is None:
                    probabilities = predictor.probabilities(batch.pixels)
                else:
                    probabilities, features = predictor.probabilities_and_embeddings(batch.pixels)
                seconds_model += time.perf_counter() - decoded
                finite: npt.NDArray[np.bool_] = np.all(np.isfinite(probabilities), axis=1)
                failures += [(str(batch.paths[row]), NOT_FINITE) for row in np.flatnonzero(~finite).tolist()]
                written = [batch.paths[row] for row in np.flatnonzero(finite).tolist()]
                unsure += _write_likeliest(writer, written, probabilities[finite], predictor.classes, top_k, threshold)
                if embeddings is not None:
                    embeddings.write(features[finite])
                images += len(written)
            if progress is not None:
                progress(len(batch.paths) + len(batch.failures))
            mark = time.perf_counter()
    return PredictionSummary(
        images, tuple(failures), tuple(remarks), unsure, time.perf_counter() - start, seconds_waiting, seconds_model
    )


def check_top(top_k: int, classes: Sequence[str]) -> None:
    """Refuse to give more classes than there are.

    Raises:
        UsageError: If `top_k` is not between 1 and the number of classes.
    """
    if not 1 <= top_k <= len(classes):
        raise UsageError(
            f"The {top_k} likeliest classes are asked for, but this artifact has {len(classes)} classes.",
            f"Ask for fewer: --top {len(classes)}",
        )


def check_threshold(threshold: Threshold | None, classes: Sequence[str]) -> None:
    """Refuse a threshold whose label is a class.

    Raises:
        UsageError: If it is.
    """
    if threshold is not None and threshold.other in classes:
        raise UsageError(
            f"{threshold.other} is one of the artifact's classes, so it cannot also stand for none of them.",
            "Name another label after --other.",
        )


def _write_likeliest(
    writer: PredictionWriter,
    paths: Sequence[Item],
    probabilities: npt.NDArray[np.float32],
    classes: Sequence[str],
    count: int,
    threshold: Threshold | None,
) -> int:
    """Write the `count` most likely classes of every row, and give the number of rows below the threshold."""
    order = np.argsort(-probabilities, axis=1, kind="stable")[:, :count]  # stable: equal ones keep the model's order
    likeliest = np.take_along_axis(probabilities, order, axis=1)
    labels = [[classes[index] for index in row] for row in order.tolist()]
    if threshold is None:
        writer.write(paths, labels, likeliest)
        return 0
    below = likeliest[:, 0] < threshold.least
    called = [threshold.other if low else row[0] for low, row in zip(below.tolist(), labels, strict=True)]
    writer.write(paths, labels, likeliest, called)
    return int(below.sum())
