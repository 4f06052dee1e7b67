"""Runs an exported classifier on pixels, whatever runs its model; none of it needs torch, except for engines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from export.artifact.manifest import Manifest
from export.runtime.onnx_session import OpenSession
from export.runtime.tensors import OpenModel
from noah.data.decoding import Decoding
from noah.data.pixels.preprocessing import Preprocessing

Batch = npt.NDArray[np.uint8] | Sequence[npt.NDArray[np.uint8]]
"""Images, uint8 (B, H, W, 3), or B of them, each (H, W, 3), of different sizes if the model takes such."""


class Predictor:
    """An artifact, opened and checked; made by `export.formats.load.load_predictor`.

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
            raise ValueError("the model was not opened by onnxruntime, which alone gives embeddings")
        runs = [self.model.run_with_features(values) for values in self._values(pixels)]
        outputs, embeddings = (np.concatenate(parts) for parts in zip(*runs, strict=True))
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
