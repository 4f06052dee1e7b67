"""What a model takes and gives, whatever runs it: onnxruntime or a TensorRT engine."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class TensorSpec:
    """A named input or output; sizes that are no whole number are free."""

    name: str
    type: str
    shape: tuple[int | str | None, ...]


class OpenModel(Protocol):
    """A model that is ready to run."""

    @property
    def provider(self) -> str:
        """What runs it, as `CPUExecutionProvider` or `tensorrt-rtx 1.7.1 on NVIDIA RTX 4090`."""

    @property
    def reason(self) -> str:
        """Why it is that."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that it takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that it gives."""

    @property
    def metadata(self) -> dict[str, str]:
        """The notes that its file carries; an engine carries none."""

    def run(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Give the one output, (B, classes), for the one input, (B, ...).

        Raises:
            ArtifactError: The model fails on this batch.
        """
