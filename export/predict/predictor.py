"""Runs an exported classifier on pixels: an ONNX file in onnxruntime, without torch, or an engine on the GPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

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
from export.runtime.onnx_session import CPU, open_session
from export.runtime.tensors import OpenModel, TensorSpec
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ArtifactError, NotHereError, UsageError
from noah.files.bounded import parse_json


class Predictor:
    """An artifact, opened and checked; made by `load_predictor`.

    Attributes:
        folder: Where the artifact lies, as an absolute path.
        name: What tells it from others of its run: the folder's name, and the file's where that is not the usual one.
        manifest: What the artifact says of itself.
        preprocessing: How an image becomes the pixels that `run` takes.
        provider: Full name of the onnxruntime provider that runs the model, or the engine's package and GPU.
        provider_reason: Why it is that one, for printing.
        file: The file that it runs.
        model: What runs it; takes values as `manifest.input` says.
    """

    def __init__(
        self, folder: Path, file: str, manifest: Manifest, preprocessing: Preprocessing, model: OpenModel
    ) -> None:
        self.folder = folder.resolve()
        self.name = model_name(self.folder.name, file, manifest)
        self.file = self.folder / file
        self.manifest = manifest
        self.preprocessing = preprocessing
        self.provider = model.provider
        self.provider_reason = model.reason
        self.model = model

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self.manifest.classes

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the model once.

        Args:
            pixels: uint8 (B, H, W, 3), as `preprocessing.pixels` gives them; B of at least 1.

        Returns:
            float32 (B, classes): logits or probabilities, as `manifest.output.values` says.

        Raises:
            ArtifactError: The model fails on this batch.
        """
        expected = (self.preprocessing.height, self.preprocessing.width, 3)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != expected or not len(pixels):
            raise ValueError(
                f"pixels must be uint8 (B, {expected[0]}, {expected[1]}, 3), not {pixels.dtype} {pixels.shape}"
            )
        values = self.preprocessing.normalize(pixels) if self.manifest.input.values == "normalized" else pixels
        return self.model.run(values)

    def probabilities(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the model once and give float32 (B, classes), each row summing to 1; arguments and errors as `run`."""
        outputs = self.run(pixels)
        return _softmax(outputs) if self.manifest.output.values == "logits" else outputs


def load_predictor(artifact: Path, *, provider: str | None = None, threads: int | None = None) -> Predictor:
    """Open an artifact after comparing its files with the manifest.

    Args:
        artifact: The folder that holds `manifest.json`, or one of the models in it. Of an artifact with an engine the
            folder stands for the engine.
        provider: "tensorrt", "cuda", "cpu" or another provider of onnxruntime; None takes the first that runs here.
        threads: Threads for one operator on the CPU; None takes every physical core.

    Raises:
        ArtifactError: Files are missing or damaged, the model does not match its manifest, or it does not run here.
        MissingPackageError: An engine's package is not installed.
        UsageError: There is no such provider, `threads` is below 1, or a provider is named for an engine.
    """
    folder = _artifact_folder(artifact)
    manifest = read_manifest(folder / MANIFEST_FILE)
    files = runnable_files(manifest)
    if not files:
        raise ArtifactError(
            f"{folder} is of format {manifest.format}, which noah itself does not run.",
            f"This runs it: {how_to_load(manifest.format, folder)}. For noah's commands: noah export --format onnx",
        )
    file = artifact.name if artifact.name in (MODEL_FILE, ENGINE_FILE) else files[0]
    if file not in manifest.files:
        raise ArtifactError(f"The manifest in {folder} names no {file}.", "Export it again: noah export")
    check_files(manifest, folder)
    preprocessing = Preprocessing.from_json(manifest.preprocessing)
    model = _open(folder / file, manifest, provider, threads)
    problems = _disagreements(manifest, preprocessing, model)
    if problems:
        raise ArtifactError(
            f"{folder / file} is not the model of its manifest: {'; '.join(problems)}.", "Export it again: noah export"
        )
    return Predictor(folder, file, manifest, preprocessing, model)


def _open(file: Path, manifest: Manifest, provider: str | None, threads: int | None) -> OpenModel:
    if file.name == ENGINE_FILE and manifest.engine is not None:
        if provider is not None:
            raise UsageError(
                f"--provider {provider} is for ONNX files, and {file} is an engine.",
                f"Leave it out, or name {file.with_name(MODEL_FILE)}.",
            )
        return open_engine(file, manifest.engine)
    try:
        return open_session(file, provider=provider, threads=threads)
    except ArtifactError as error:
        if manifest.precision == "bf16" and "find an implementation" in error.problem:
            raise NotHereError(
                f"{file} is in bf16, and onnxruntime's {CPU} has no bf16 convolution.",
                "Run it on a GPU, or export one that runs here: noah export --format onnx --precision fp32",
            ) from error
        raise


def _artifact_folder(artifact: Path) -> Path:
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
    """Where the manifest, its preprocessing and what the model says of itself contradict one another."""
    problems = _tensor_disagreements("input", manifest.input, model.inputs)
    problems += _tensor_disagreements("output", manifest.output, model.outputs)
    if CLASSES in model.metadata:
        problems += _other_labels(model.metadata[CLASSES], manifest.classes)
    size = (preprocessing.height, preprocessing.width)
    if any(
        isinstance(told, int) and told != needed for told, needed in zip(manifest.input.image_size, size, strict=True)
    ):
        problems.append(f"input takes images of {manifest.input.image_size} and preprocessing makes {size}")
    if isinstance(manifest.input.shape[0], int):
        problems.append(f"input has a batch fixed to {manifest.input.shape[0]}, and any number of images must fit")
    return problems


def _other_labels(note: str, classes: tuple[str, ...]) -> list[str]:
    """Where the labels that the file itself carries are not the manifest's."""
    try:
        found = parse_json(note)
    except ValueError as error:
        return [f"its note of the labels is damaged: {error}"]
    if not isinstance(found, list):
        return ["its note of the labels is no list"]
    difference = label_difference(found, classes)
    return [f"its labels are others: {difference}"] if difference else []


def _tensor_disagreements(kind: str, told: ModelInput | ModelOutput, found: Sequence[TensorSpec]) -> list[str]:
    """Compare the one input or output that is told with those that the model has."""
    if [tensor.name for tensor in found] != [told.name]:
        names = ", ".join(tensor.name for tensor in found)
        return [f"{kind} {told.name!r} is told and {names!r} is found"]
    problems = []
    if found[0].type != told.type:
        problems.append(f"{kind} {told.name!r} is told to be {told.type} and is {found[0].type}")
    if _fixed_sizes(found[0].shape) != _fixed_sizes(told.shape):
        problems.append(f"{kind} {told.name!r} is told to be {list(told.shape)} and is {list(found[0].shape)}")
    return problems


def _fixed_sizes(shape: Sequence[int | str | None]) -> list[int | None]:
    """The sizes, None where any will do; under which name it goes makes no difference."""
    return [size if isinstance(size, int) else None for size in shape]


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Softmax of each row; the largest logit is taken off first, so that no exponential overflows."""
    with np.errstate(invalid="ignore"):  # A row that holds infinity or NaN becomes NaN, which the caller sees.
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)
