"""Runs an exported classifier on pixels, whatever runs its model; none of it needs torch, except for engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.artifact.manifest import Manifest
from export.runtime.onnx_session import OpenSession
from export.runtime.tensors import OpenModel
from noah.data.decoding import Decoding
from noah.data.pixels.preprocessing import Preprocessing


class Predictor:
    """An artifact, opened and checked; made by `export.formats.load.load_predictor`.

    Attributes:
        folder: The artifact's folder, as an absolute path.
        name: Unique among the models of a run: the folder's name, followed by the file's if it is not the usual one.
        manifest: The content of the artifact's `manifest.json`.
        preprocessing: Turns an image into the pixels that `run` takes.
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
        *,
        name: str = "",
    ) -> None:
        self.folder = folder.resolve()
        self.name = name or self.folder.name
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

    def run(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the model once.

        Args:
            pixels: uint8 (B, H, W, 3), made by `preprocessing.pixels`; B is at least 1.

        Returns:
            float32 (B, classes): logits or probabilities, as `manifest.output.values` says.

        Raises:
            ArtifactError: If the model fails on this batch.
        """
        return self.model.run(self._values(pixels))

    def _values(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """What the model takes for these pixels."""
        expected = (self.preprocessing.height, self.preprocessing.width, 3)
        if pixels.dtype != np.uint8 or pixels.shape[1:] != expected or not len(pixels):
            raise ValueError(
                f"pixels must be uint8 (B, {expected[0]}, {expected[1]}, 3), not {pixels.dtype} {pixels.shape}"
            )
        return self.preprocessing.normalize(pixels) if self.manifest.input.values == "normalized" else pixels

    def probabilities(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Run the model once and give float32 (B, classes), each row summing to 1; otherwise the same as `run`.

        They are at the temperature that the manifest tells.
        """
        return self._probabilities(self.run(pixels))

    def probabilities_and_embeddings(
        self, pixels: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Run the model once and give probabilities (B, classes), and the features before the head, float32 (B, d).

        The artifact has to be opened with `embeddings`; otherwise the same as `run`.
        """
        if not isinstance(self.model, OpenSession):
            raise ValueError("an engine has no embeddings")
        outputs, embeddings = self.model.run_with_features(self._values(pixels))
        return self._probabilities(outputs), embeddings

    def _probabilities(self, outputs: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self.manifest.output.values == "probabilities":
            return outputs
        return _softmax(outputs / np.float32(self.manifest.softmax_temperature))


def _softmax(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Compute the softmax of each row; the largest logit is subtracted first, so that no exponential overflows."""
    with np.errstate(invalid="ignore"):  # a row with infinity or NaN becomes NaN, which the caller sees
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True), np.float32)
