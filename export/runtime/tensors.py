"""The inputs and outputs of a model, whether onnxruntime runs it or TensorRT."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

INPUT_NAME = "images"
"""What every exported network calls its only input."""
BATCH_AXIS = "batch"
"""What they call the size that is free."""


@dataclass(frozen=True)
class TensorSpec:
    """A named input or output; a size that is a name or None is free."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


class OpenModel(Protocol):
    """A model that is ready to run."""

    @property
    def provider(self) -> str:
        """What runs the model, as `CPUExecutionProvider` or `tensorrt-rtx 1.7.1 on NVIDIA RTX 4090`."""

    @property
    def reason(self) -> str:
        """Why that provider was chosen, for printing."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that the model takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that the model returns."""

    @property
    def metadata(self) -> dict[str, str]:
        """The notes in the model's file; an engine has none."""

    def run(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Compute the model's only output, (B, classes), from its only input, (B, ...).

        Raises:
            ArtifactError: If the model fails on this batch.
        """
