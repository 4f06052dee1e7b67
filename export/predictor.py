"""Runs an exported classifier on pixels; needs onnxruntime and the artefact, and no torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.manifest import MANIFEST_FILE, MODEL_FILE, Manifest, ModelInput, ModelOutput, check_files, read_manifest
from export.onnx_session import OpenSession, one_line, open_session
from noah.data.preprocessing import Preprocessing
from noah.errors import ArtefactError

_ONNX_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}


class Predictor:
    """An artefact, opened and checked; made by `load_predictor`.

    Attributes:
        folder: Where the artefact lies, as an absolute path.
        manifest: What the artefact says of itself.
        preprocessing: How an image becomes the pixels that `run` takes.
        provider: Full name of the onnxruntime provider that runs the model.
        provider_reason: Why it is that one, for printing.
    """

    def __init__(self, folder: Path, manifest: Manifest, preprocessing: Preprocessing, opened: OpenSession) -> None:
        self.folder = folder.resolve()
        self.manifest = manifest
        self.preprocessing = preprocessing
        self.provider = opened.provider
        self.provider_reason = opened.reason
        self._session = opened.session

    @property
    def classes(self) -> tuple[str, ...]:
        """Labels in the order of the outputs."""
        return self.manifest.classes

    @property
    def file_hashes(self) -> dict[str, str]:
        """SHA-256 of each file, by name: tells one artefact from another of the same name."""
        return {name: record.sha256 for name, record in self.manifest.files.items()}

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the model once.

        Args:
            pixels: uint8 (B, H, W, 3), as `preprocessing.pixels` gives them; B of at least 1.

        Returns:
            float32 (B, classes): logits or probabilities, as `manifest.output.values` says.

        Raises:
            ArtefactError: The model fails on this batch.
        """
        expected = (self.preprocessing.height, self.preprocessing.width, 3)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != expected or not len(pixels):
            raise ValueError(
                f"pixels must be uint8 (B, {expected[0]}, {expected[1]}, 3), not {pixels.dtype} {pixels.shape}"
            )
        model_input = self.manifest.input
        values = self.preprocessing.normalise(pixels) if model_input.values == "normalised" else pixels
        try:
            (outputs,) = self._session.run([self.manifest.output.name], {model_input.name: values})
        except Exception as error:  # onnxruntime's exceptions have no common base
            raise ArtefactError(
                f"The model failed on a batch of {len(pixels)} images: {one_line(error)}.",
                "If memory ran out, try a smaller --batch-size.",
            ) from error
        return np.asarray(outputs, np.float32)

    def probabilities(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the model once and give float32 (B, classes), each row summing to 1; arguments and errors as `run`."""
        outputs = self.run(pixels)
        return _softmax(outputs) if self.manifest.output.values == "logits" else outputs


def load_predictor(artefact: Path, *, provider: str | None = None, threads: int | None = None) -> Predictor:
    """Open an artefact after comparing its files with the manifest.

    Args:
        artefact: The folder that holds `manifest.json`, or its `model.onnx`.
        provider: "cuda", "cpu" or another provider of onnxruntime; None takes the fastest that runs here.
        threads: Threads for one operator on the CPU; None takes every physical core.

    Raises:
        ArtefactError: Files are missing or damaged, the model does not match its manifest, or `provider` does not run.
        UsageError: There is no such provider, or `threads` is below 1.
    """
    folder = _artefact_folder(artefact)
    manifest = read_manifest(folder / MANIFEST_FILE)
    if MODEL_FILE not in manifest.files:
        raise ArtefactError(f"The manifest in {folder} names no {MODEL_FILE}.", "Export it again: noah export")
    check_files(manifest, folder)
    preprocessing = Preprocessing.from_json(manifest.preprocessing)
    opened = open_session(folder / MODEL_FILE, provider=provider, threads=threads)
    problems = _disagreements(manifest, preprocessing, opened.session)
    if problems:
        raise ArtefactError(
            f"{folder / MODEL_FILE} is not the model of its manifest: {'; '.join(problems)}.",
            "Export it again: noah export",
        )
    return Predictor(folder, manifest, preprocessing, opened)


def _artefact_folder(artefact: Path) -> Path:
    if artefact.is_dir():
        return artefact
    if not artefact.exists():
        raise ArtefactError(f"No artefact here: {artefact} does not exist.", "Write one: noah export")
    if artefact.name not in (MODEL_FILE, MANIFEST_FILE):
        raise ArtefactError(
            f"{artefact} is not an artefact.", f"Name the folder that holds {MODEL_FILE} and {MANIFEST_FILE}."
        )
    return artefact.parent


def _disagreements(manifest: Manifest, preprocessing: Preprocessing, session: Any) -> list[str]:
    """Where the manifest, its preprocessing and the tensors of the model contradict one another."""
    problems = _tensor_disagreements("input", manifest.input, session.get_inputs())
    problems += _tensor_disagreements("output", manifest.output, session.get_outputs())
    size = (preprocessing.height, preprocessing.width)
    if any(
        isinstance(told, int) and told != needed for told, needed in zip(manifest.input.image_size, size, strict=True)
    ):
        problems.append(f"input takes images of {manifest.input.image_size} and preprocessing makes {size}")
    if isinstance(manifest.input.shape[0], int):
        problems.append(f"input has a batch fixed to {manifest.input.shape[0]}, and any number of images must fit")
    return problems


def _tensor_disagreements(kind: str, told: ModelInput | ModelOutput, found: Sequence[Any]) -> list[str]:
    """Compare the one input or output that is told with those that onnxruntime finds."""
    if [tensor.name for tensor in found] != [told.name]:
        names = ", ".join(tensor.name for tensor in found)
        return [f"{kind} {told.name!r} is told and {names!r} is found"]
    problems = []
    found_type = _ONNX_TYPES.get(found[0].type, found[0].type)
    if found_type != told.type:
        problems.append(f"{kind} {told.name!r} is told to be {told.type} and is {found_type}")
    if _fixed_sizes(found[0].shape) != _fixed_sizes(told.shape):
        problems.append(f"{kind} {told.name!r} is told to be {list(told.shape)} and is {found[0].shape}")
    return problems


def _fixed_sizes(shape: Sequence[int | str | None]) -> list[int | None]:
    """The sizes, None where any will do; under which name it goes makes no difference."""
    return [size if isinstance(size, int) else None for size in shape]


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Softmax of each row; the largest logit is taken off first, so that no exponential overflows."""
    with np.errstate(invalid="ignore"):  # A row that holds infinity or NaN becomes NaN, which the caller sees.
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)
