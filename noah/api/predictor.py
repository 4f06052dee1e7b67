"""`noah.Predictor`: the classes of images by an exported artifact; an ONNX file needs no torch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.artifact.manifest import Manifest
from export.formats.load import load_predictor
from export.predict.embeddings import open_embeddings
from export.predict.image_paths import find_images
from export.predict.predict import (
    BATCHES_AHEAD,
    NOT_FINITE,
    PredictionSummary,
    Threshold,
    check_threshold,
    check_top,
    predict,
)
from export.predict.prediction_table import open_writer
from export.predict.predictor import Batch
from noah.data.decode import Decoded, Remark, decode_image, upright_rgb
from noah.data.in_threads import in_threads
from noah.data.sources.tables.cells import TABLE_SUFFIXES, is_table_path
from noah.errors import ArtifactError, UnreadableImageError, UsageError
from noah.files.latest import follow_latest
from noah.hardware.cores import claimed_threads, release_threads
from noah.progress import Listener, Silent, counted
from noah.settings.settings import ColumnSettings

PathLike = str | os.PathLike[str]
ImageLike = PathLike | Image.Image | npt.NDArray[np.uint8]
"""A file, an open image, or an array: uint8 (H, W), (H, W, 3) or (H, W, 4)."""

UNKNOWN = "unknown"
"""What images are called that no class is likely enough for, unless another label is given."""
REMARKS: Mapping[Remark, str] = {
    "repaired": "without an end, of which what is there was predicted",
    "too bright": "with values beyond the bit depth of the training images, which became white",
}
"""What is told of files that were decoded with a remark."""
_NAMED = 20
"""How many unreadable images an error names."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What an artifact says of one image.

    Attributes:
        label: The most likely class.
        probability: Its probability, 0..1.
        top: The `top_k` most likely classes with their probabilities, the first included.
        path: The file; None for an image or array that was passed.
    """

    label: str
    probability: float
    top: tuple[tuple[str, float], ...]
    path: Path | None = None


class Predictor:
    """An exported artifact, opened and checked, ready to be called.

        predictor = noah.Predictor("runs/latest/export/onnx-fp32")
        predictor("photos/new")[0].label

    Args:
        artifact: The artifact's folder, or one of the models in it; `latest` in the path stands for the latest run.
            What `Run.export` returns will do, too.
        provider: "tensorrt", "cuda", "cpu" or "openvino"; None takes the first of the first three that runs here.
        threads: CPU threads of the model; None takes what `noah.hardware.cores` chooses.
        batch_size: Images in one run of the model.
        workers: Threads that decode images.
        embeddings: Whether it is also to give embeddings, as an ONNX file does.

    Attributes:
        path: The artifact's folder.
        manifest: What `manifest.json` in it says.
        classes: The classes, in the order of the outputs.
        provider: What runs the model.

    Raises:
        ArtifactError: If files are missing or damaged, or the model does not run here.
        MissingPackageError: If an engine's package is not installed.
        UsageError: If there is no such provider, or a number is below 1.
    """

    def __init__(
        self,
        artifact: PathLike,
        *,
        provider: str | None = None,
        threads: int | None = None,
        batch_size: int = 32,
        workers: int = 2,
        embeddings: bool = False,
    ) -> None:
        for name, number in (("batch_size", batch_size), ("workers", workers)):
            if number < 1:
                raise UsageError(f"{name} is {number}, but must be at least 1.")
        self._opened = load_predictor(
            follow_latest(Path(artifact)), provider=provider, threads=threads, embeddings=embeddings
        )
        release_threads()  # one that waits for images keeps no other process from computing
        self._threads, self._batch_size, self._workers = threads, batch_size, workers
        self._gives_embeddings = embeddings
        self.path: Path = self._opened.folder
        self.manifest: Manifest = self._opened.manifest
        self.classes: tuple[str, ...] = self._opened.classes
        self.provider: str = self._opened.provider

    def __repr__(self) -> str:
        manifest = self.manifest
        side = f"{self._opened.preprocessing.width} x {self._opened.preprocessing.height} px"
        return (
            f"<Predictor {self._opened.name} of {manifest.run.name}: {counted(len(self.classes), 'classes')}, {side}, "
            f"{manifest.precision} by {self.provider}>"
        )

    def __call__(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        top_k: int = 1,
        min_probability: float | None = None,
        other: str = UNKNOWN,
    ) -> list[Prediction]:
        """Predict images, in order.

        Args:
            images: One image or several; also a folder, a glob or a table of paths, which stand for the images that
                `noah predict` finds there, or an array (N, H, W, 3) of N images.
            top_k: Classes for each image, at most all of them.
            min_probability: The least probability, 0..1, of a class that names an image; None for any.
            other: The label of images that no class is likely enough for.

        Raises:
            UnreadableImageError: If images cannot be decoded; names them. `write` leaves such images out instead.
            UsageError: If there are no images at a path, an array holds no images, a number is out of range, or
                `other` is a class.
            ArtifactError: If the model fails.
        """
        if not 1 <= top_k <= len(self.classes):
            raise UsageError(f"top_k is {top_k}, but this artifact has {len(self.classes)} classes.")
        threshold = _threshold(min_probability, other)
        check_threshold(threshold, self.classes)
        predictions = []
        for paths, probabilities in self._batches(images, self._opened.probabilities):
            order = np.argsort(-probabilities, axis=1, kind="stable")[:, :top_k]  # equal ones keep the model's order
            for path, row, best in zip(paths, probabilities, order.tolist(), strict=True):
                top = tuple((self.classes[index], float(row[index])) for index in best)
                label, probability = top[0]
                if threshold is not None and probability < threshold.least:
                    label = threshold.other
                predictions.append(Prediction(label, probability, top, path))
        return predictions

    def probabilities(self, images: ImageLike | Iterable[ImageLike]) -> npt.NDArray[np.float32]:
        """Compute the probabilities of all classes, float32 (N, classes), of images as `__call__` takes them.

        Raises:
            NoahError: As `__call__` does.
        """
        batches = [probabilities for _, probabilities in self._batches(images, self._opened.probabilities)]
        return np.concatenate(batches) if batches else np.empty((0, len(self.classes)), np.float32)

    def embeddings(self, images: ImageLike | Iterable[ImageLike]) -> npt.NDArray[np.float32]:
        """Compute what the network gives before its head, float32 (N, d), of images as `__call__` takes them.

        Raises:
            UsageError: If it was not opened with `embeddings=True`, or there are no images.
            NoahError: As `__call__` does.
        """
        self._check_embeddings()
        batches = [features for _, features in self._batches(images, self._embeddings)]
        if not batches:
            raise UsageError("There are no images.", "Pass at least one.")
        return np.concatenate(batches)

    def _embeddings(self, pixels: Batch) -> npt.NDArray[np.float32]:
        return self._opened.probabilities_and_embeddings(pixels)[1]

    def _check_embeddings(self) -> None:
        if not self._gives_embeddings:
            raise UsageError("This predictor gives no embeddings.", "Open it with Predictor(..., embeddings=True).")

    def write(
        self,
        images: PathLike | Sequence[PathLike],
        out: PathLike | None,
        *,
        format: str | None = None,  # noqa: A002  # named as the command's option
        top_k: int = 1,
        min_probability: float | None = None,
        other: str = UNKNOWN,
        embeddings: PathLike | None = None,
        columns: ColumnSettings | None = None,
        standard_input: BinaryIO | None = None,
        listener: Listener | None = None,
    ) -> PredictionSummary:
        """Predict the images of files, folders, globs or tables, and write a table, in constant memory.

        Args:
            images: Where the images are.
            out: The file to write, which gets its name when all is done; None writes CSV to standard output.
            format: csv, jsonl or parquet; None decides by the suffix.
            top_k: Classes for each image.
            min_probability: The least probability, 0..1, of a class that names an image; None for any.
            other: The label of images that no class is likely enough for.
            embeddings: A .npy file to write embeddings into, a row for each predicted image.
            columns: What the column of paths is called in tables, of which there has to be one then.
            standard_input: Where the list that `-` stands for is read from.
            listener: Receives the progress.

        Returns:
            Counts and times, and the images that could not be read with the cause.

        Raises:
            UsageError: If there are no images, a file cannot be written as asked, or columns are named without a table.
            MissingPackageError: If Parquet is asked for, and pyarrow is not installed.
            DataError: If a folder or a table cannot be read.
            ArtifactError: If the model fails.
        """
        threshold = _threshold(min_probability, other)
        check_top(top_k, self.classes)  # before standard output gets a line
        check_threshold(threshold, self.classes)
        if embeddings is not None:
            self._check_embeddings()
        listener = listener or Silent()
        names = [os.fspath(name) for name in ([images] if isinstance(images, str | os.PathLike) else images)]
        if columns not in (None, ColumnSettings()) and not any(is_table_path(Path(name)) for name in names):
            suffixes = ", ".join(sorted(TABLE_SUFFIXES))
            raise UsageError(
                "--columns has no effect, as no table was named.", f"Leave it out, or name a table ({suffixes})."
            )
        paths = find_images(names, columns, standard_input)
        listener.say(f"runs on   {self.provider} ({self._opened.provider_reason})")
        fitted = self.manifest.temperature
        listener.say(
            "softmax   without temperature, as none was fitted"
            if fitted is None
            else f"softmax   temperature {fitted.value:.3g}, fitted on {fitted.fitted_on}"
        )
        target = None if out is None else Path(out)
        with (
            claimed_threads(self._threads),
            # The writer comes last, because it begins standard output, and the other may refuse its name.
            nullcontext() if embeddings is None else open_embeddings(Path(embeddings)) as features,
            open_writer(target, format=format, top_k=top_k, renames=threshold is not None) as writer,
            listener.bar("predicting", len(paths), "images") as bar,
        ):
            done = 0

            def advance(count: int) -> None:
                nonlocal done
                done += count
                bar.update(done)

            return predict(
                self._opened,
                paths,
                writer,
                batch_size=self._batch_size,
                workers=self._workers,
                top_k=top_k,
                threshold=threshold,
                embeddings=features,
                progress=advance,
            )

    def _batches(
        self,
        images: ImageLike | Iterable[ImageLike],
        compute: Callable[[Batch], npt.NDArray[np.float32]],
    ) -> Iterator[tuple[list[Path | None], npt.NDArray[np.float32]]]:
        """The files of one batch after another and what is computed; what is unreadable is told after the last.

        Of files that are decoded with a remark, a Python warning names the first.
        """
        unreadable: list[UnreadableImageError] = []
        remarks: list[tuple[Path, Remark]] = []
        ahead = (1 + BATCHES_AHEAD) * self._batch_size
        with closing(in_threads(_each(images), self._pixels, ahead=ahead, workers=self._workers)) as decoded:
            while batch := list(islice(decoded, self._batch_size)):
                unreadable += [found for _, found in batch if isinstance(found, UnreadableImageError)]
                read = [(source, found) for source, found in batch if not isinstance(found, UnreadableImageError)]
                if not read or unreadable:
                    continue
                remarks += [(source, told) for source, (_, of) in read if isinstance(source, Path) for told in of]
                computed = compute([pixels for _, (pixels, _) in read])
                if not np.isfinite(computed).all():
                    raise ArtifactError(f"{self._opened.file}: {NOT_FINITE}.", "Export it again in another precision.")
                yield [source if isinstance(source, Path) else None for source, _ in read], computed
        if unreadable:
            raise _refusal(unreadable)
        for remark, what in REMARKS.items():
            if found := [path for path, told in remarks if told == remark]:
                warnings.warn(f"{counted(len(found), 'files')} {what}, such as {found[0]}", UserWarning, stacklevel=3)

    def _pixels(self, source: Path | Image.Image) -> tuple[npt.NDArray[np.uint8], tuple[Remark, ...]]:
        decoding = self._opened.decoding
        if isinstance(source, Path):
            decoded = decode_image(source, decoding)
        else:
            decoded = Decoded(upright_rgb(source, "an image that was passed", decoding))
        return self._opened.pixels(decoded.image), decoded.remarks


def _threshold(min_probability: float | None, other: str) -> Threshold | None:
    """When no class is likely enough, if that may be.

    Raises:
        UsageError: If the probability is none.
    """
    if min_probability is None:
        return None
    if not 0 <= min_probability <= 1:
        raise UsageError(f"min_probability is {min_probability:g}, but must be between 0 and 1.")
    return Threshold(min_probability, other)


def _each(images: ImageLike | Iterable[ImageLike]) -> Generator[Path | Image.Image, None, None]:
    """One image after another."""
    if isinstance(images, str | os.PathLike):
        yield from find_images([os.fspath(images)])
    elif isinstance(images, Image.Image):
        yield images
    elif isinstance(images, np.ndarray):
        yield from map(_from_array, images if images.ndim == 4 else [images])
    elif isinstance(images, Iterable):
        for image in images:
            yield from _each(image)
    else:
        raise UsageError(
            f"{type(images).__name__} is not an image.", "Pass paths, images of Pillow, or arrays of NumPy."
        )


def _from_array(values: npt.NDArray[np.uint8]) -> Image.Image:
    """An image of uint8 (H, W), (H, W, 1), (H, W, 3) or (H, W, 4)."""
    shown = values[..., 0] if values.ndim == 3 and values.shape[2] == 1 else values
    fits = shown.ndim == 2 or (shown.ndim == 3 and shown.shape[2] in (3, 4))
    if shown.dtype != np.uint8 or not fits or not shown.size:
        raise UsageError(
            f"An array of {values.dtype} {values.shape} is not an image.",
            "Pass uint8 (H, W, 3), (H, W, 4) or (H, W), or (N, H, W, 3) for N images; red comes first.",
        )
    return Image.fromarray(np.ascontiguousarray(shown))


def _refusal(unreadable: Sequence[UnreadableImageError]) -> UnreadableImageError:
    """One error for all images that cannot be read."""
    first = unreadable[0]
    if len(unreadable) == 1:
        return first
    named = "\n".join(error.problem for error in unreadable[:_NAMED])
    more = f"\nand {len(unreadable) - _NAMED:,} more" if len(unreadable) > _NAMED else ""
    return UnreadableImageError(f"{counted(len(unreadable), 'images')} cannot be read:\n{named}{more}", first.hint)
