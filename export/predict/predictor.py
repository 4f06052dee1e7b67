"""Runs an exported classifier on pixels: an ONNX file in onnxruntime, without torch, or an engine on the GPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.artifact.manifest import (
    ENGINE_FILE,
    MANIFEST_FILE,
    MODEL_FILE,
    Manifest,
    check_files,
    how_to_load,
    read_manifest,
)
from export.artifact.metadata import CLASSES, label_difference
from export.artifact.records import ModelInput, ModelOutput
from export.predict.runnable import model_name, runnable_files
from export.runtime.engine import open_engine
from export.runtime.onnx_session import CPU, OpenSession, open_session
from export.runtime.tensors import OpenModel, TensorSpec
from noah.data.decoding import AS_STORED, Decoding
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ArtifactError, NotHereError, UsageError
from noah.files.bounded import parse_json

Batch = npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]
"""Images, uint8 (B, H, W, 3), or B of them, each (H, W, 3), of different sizes if the model takes such."""


class Predictor:
    """An artifact, opened and checked; made by `load_predictor`.

    Attributes:
        folder: The artifact's folder, as an absolute path.
        name: Unique among the models of a run: the folder's name, followed by the file's if it is not the usual one.
        manifest: The content of the artifact's `manifest.json`.
        preprocessing: Turns an image into pixels, here or, if the model takes images of any size, in its graph.
        decoding: How image files are read.
        provider: Full name of the onnxruntime provider that runs the model, or the engine's package and GPU.
        provider_reason: Why that provider was chosen, for printing.
        file: The model file, as an absolute path.
        model: The open model, which takes the values that `manifest.input` describes.
    """

    def __init__(
        self,
        folder: Path,
        file: str,
        manifest: Manifest,
        preprocessing: Preprocessing,
        decoding: Decoding,
        model: OpenModel,
    ) -> None:
        self.folder = folder.resolve()
        self.name = model_name(self.folder.name, file, manifest)
        self.file = self.folder / file
        self.manifest = manifest
        self.preprocessing = preprocessing
        self.decoding = decoding
        self.provider = model.provider
        self.provider_reason = model.reason
        self.model = model

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self.manifest.classes

    @property
    def takes_images(self) -> bool:
        """Whether the model takes images of any size, and resizes them itself."""
        return self.manifest.input.values == "image"

    def pixels(self, image: Image.Image) -> npt.NDArray[np.uint8]:
        """Give what `run` takes of an RGB image, uint8 (H, W, 3): its pixels resized, or as they are.

        Raises:
            UnreadableImageError: If the image is so long and thin that resizing it would exhaust the memory.
        """
        if not self.takes_images:
            return self.preprocessing.pixels(image)
        self.preprocessing.resized_size(image.width, image.height)
        return np.asarray(image)

    def run(self, pixels: Batch) -> npt.NDArray[np.float32]:
        """Run the model, once for consecutive images of one size.

        Args:
            pixels: At least one image, each made by `Predictor.pixels`.

        Returns:
            float32 (B, classes): logits or probabilities, as `manifest.output.values` says.

        Raises:
            ArtifactError: If the model fails on this batch.
        """
        return np.concatenate([self.model.run(values) for values in self._values(pixels)])

    def _values(self, pixels: Batch) -> Iterator[npt.NDArray[Any]]:
        """What the model takes for these images, those of one size together."""
        sides: tuple[int | str, ...] = (self.preprocessing.height, self.preprocessing.width)
        if not len(pixels):
            raise ValueError("pixels must be uint8 (B, H, W, 3), at least one image")
        for _, alike in groupby(pixels, np.shape):
            values = np.stack(list(alike))
            fits = values.ndim == 4 and values.shape[3] == 3 and (self.takes_images or values.shape[1:3] == sides)
            if values.dtype != np.uint8 or not fits:
                expected = ("height", "width") if self.takes_images else sides
                raise ValueError(
                    f"pixels must be uint8 (B, {expected[0]}, {expected[1]}, 3), not {values.dtype} {values.shape}"
                )
            yield self.preprocessing.normalize(values) if self.manifest.input.values == "normalized" else values

    def probabilities(self, pixels: Batch) -> npt.NDArray[np.float32]:
        """Run the model once and give float32 (B, classes), each row summing to 1; otherwise the same as `run`.

        They are at the temperature that the manifest tells.
        """
        return self._probabilities(self.run(pixels))

    def probabilities_and_embeddings(self, pixels: Batch) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run the model once and give probabilities (B, classes), and the features before the head, float32 (B, d).

        The artifact has to be opened with `embeddings`; otherwise the same as `run`.
        """
        if not isinstance(self.model, OpenSession):
            raise ValueError("an engine has no embeddings")
        runs = [self.model.run_with_features(values) for values in self._values(pixels)]
        outputs, embeddings = (np.concatenate(parts) for parts in zip(*runs, strict=True))
        return self._probabilities(outputs), embeddings

    def _probabilities(self, outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.manifest.output.values == "probabilities":
            return outputs
        return _softmax(outputs / np.float32(self.manifest.softmax_temperature))


def load_predictor(
    artifact: Path, *, provider: str | None = None, threads: int | None = None, embeddings: bool = False
) -> Predictor:
    """Open an artifact after comparing its files with the manifest.

    Args:
        artifact: The folder that holds `manifest.json`, or one of the models in it. If the artifact has an engine, the
            folder stands for that.
        provider: "tensorrt", "cuda", "cpu" or another provider of onnxruntime; None takes the first that runs here.
        threads: Threads for one operator on the CPU; None takes what `noah.hardware.cores` chooses.
        embeddings: Whether it is also to give embeddings, which only ONNX files do.

    Raises:
        ArtifactError: If files are missing or damaged, or the model does not match its manifest or does not run here.
        MissingPackageError: If an engine's package is not installed.
        UsageError: If there is no such provider, `threads` is below 1, or a provider or embeddings are asked of an
            engine.
    """
    manifest, file = read_artifact(artifact)
    folder = artifact_folder(artifact)
    preprocessing = Preprocessing.from_json(manifest.preprocessing)
    decoding = _stored_decoding(manifest)
    model = _open(folder / file, manifest, provider, threads, embeddings=embeddings)
    problems = _disagreements(manifest, preprocessing, model)
    if problems:
        raise ArtifactError(
            f"{folder / file} is not the model of its manifest: {'; '.join(problems)}.", "Export it again: noah export"
        )
    return Predictor(folder, file, manifest, preprocessing, decoding, model)


def read_artifact(artifact: Path) -> tuple[Manifest, str]:
    """Compare an artifact's files with its manifest, and give that and the name of the model to open; opens nothing.

    Args:
        artifact: As for `load_predictor`.

    Raises:
        ArtifactError: If files are missing or damaged, or noah does not run this format.
    """
    folder = artifact_folder(artifact)
    manifest = read_manifest(folder / MANIFEST_FILE)
    files = runnable_files(manifest)
    if not files:
        raise ArtifactError(
            f"{folder} is of format {manifest.format}, which noah itself does not run.",
            f"Run it with: {how_to_load(manifest.format, folder)}. For noah's commands: noah export --format onnx",
        )
    file = artifact.name if artifact.name in (MODEL_FILE, ENGINE_FILE) else files[0]
    if file not in manifest.files:
        raise ArtifactError(f"The manifest in {folder} names no {file}.", "Export it again: noah export")
    check_files(manifest, folder)
    return manifest, file


def _stored_decoding(manifest: Manifest) -> Decoding:
    try:
        return AS_STORED if manifest.decoding is None else Decoding.from_json(manifest.decoding)
    except ValueError as error:
        raise ArtifactError(
            f"The decoding stored in the artifact is wrong: {error}.", "Export the artifact again."
        ) from error


def _open(file: Path, manifest: Manifest, provider: str | None, threads: int | None, *, embeddings: bool) -> OpenModel:
    if file.name == ENGINE_FILE and manifest.engine is not None:
        if embeddings:
            raise UsageError(
                f"The engine {file} gives no embeddings.",
                f"The file that it was built from does: {file.with_name(MODEL_FILE)}",
            )
        if provider is not None:
            raise UsageError(
                f"--provider {provider} is for ONNX files, and {file} is an engine.",
                f"Leave it out, or name {file.with_name(MODEL_FILE)}.",
            )
        return open_engine(file, manifest.engine)
    try:
        return open_session(file, provider=provider, threads=threads, features=embeddings)
    except ArtifactError as error:
        if manifest.precision == "bf16" and "find an implementation" in error.problem:
            raise NotHereError(
                f"{file} is in bf16, and onnxruntime's {CPU} has no bf16 convolution.",
                "Run it on a GPU, or export one that runs here: noah export --format onnx --precision fp32",
            ) from error
        raise


def artifact_folder(artifact: Path) -> Path:
    """The folder of an artifact, given that or one of the models in it.

    Raises:
        ArtifactError: If it is neither.
    """
    if artifact.is_dir():
        return artifact
    if not artifact.exists():
        raise ArtifactError(f"No artifact here: {artifact} does not exist.", "Write one: noah export")
    if artifact.name not in (MODEL_FILE, ENGINE_FILE, MANIFEST_FILE):
        raise ArtifactError(
            f"{artifact} is not an artifact.", f"Name the folder that holds {MODEL_FILE} and {MANIFEST_FILE}."
        )
    return artifact.parent


def _disagreements(manifest: Manifest, preprocessing: Preprocessing, model: OpenModel) -> list[str]:
    """List where the manifest, its preprocessing and the model itself contradict one another."""
    problems = _tensor_disagreements("input", manifest.input, model.inputs)
    problems += _tensor_disagreements("output", manifest.output, model.outputs)
    if CLASSES in model.metadata:
        problems += _other_labels(model.metadata[CLASSES], manifest.classes)
    size = (preprocessing.height, preprocessing.width)
    if any(
        isinstance(told, int) and told != needed for told, needed in zip(manifest.input.image_size, size, strict=True)
    ):
        problems.append(f"the input takes images of {manifest.input.image_size}, but preprocessing makes {size}")
    if isinstance(manifest.input.shape[0], int):
        problems.append(f"the input's batch is fixed to {manifest.input.shape[0]}, but any number of images must fit")
    return problems


def _other_labels(note: str, classes: tuple[str, ...]) -> list[str]:
    """List where the labels in the file itself differ from the manifest's."""
    try:
        found = parse_json(note)
    except ValueError as error:
        return [f"its list of labels is damaged: {error}"]
    if not isinstance(found, list):
        return ["its labels are not a list"]
    difference = label_difference(found, classes)
    return [f"its labels differ: {difference}"] if difference else []


def _tensor_disagreements(kind: str, told: ModelInput | ModelOutput, found: Sequence[TensorSpec]) -> list[str]:
    """Compare the input or output in the manifest with those that the model has."""
    if [tensor.name for tensor in found] != [told.name]:
        names = ", ".join(tensor.name for tensor in found)
        return [f"its {kind} is {names!r}, not {told.name!r}"]
    problems = []
    if found[0].type != told.type:
        problems.append(f"{kind} {told.name!r} is {found[0].type}, not {told.type}")
    if _fixed_sizes(found[0].shape) != _fixed_sizes(told.shape):
        problems.append(f"{kind} {told.name!r} is {list(found[0].shape)}, not {list(told.shape)}")
    return problems


def _fixed_sizes(shape: Sequence[int | str | None]) -> list[int | None]:
    """Give the sizes, with None for every free one, whatever its name."""
    return [size if isinstance(size, int) else None for size in shape]


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compute the softmax of each row; the largest logit is subtracted first, so that no exponential overflows."""
    with np.errstate(invalid="ignore"):  # a row with infinity or NaN becomes NaN, which the caller sees
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)
