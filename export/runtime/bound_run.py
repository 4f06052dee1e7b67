"""Runs an onnxruntime session with its input and output in the memory of a device.

`session.run` copies the input to the GPU into memory that it allocates anew for every batch. Here one buffer is kept
and overwritten as long as batches have the same shape, which all but the last have.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime


class BoundRun:
    """The one input and output of a session, bound to a device.

    Args:
        session: An `onnxruntime.InferenceSession`.
        device: onnxruntime's name of the device: "cuda", or "cpu".
    """

    def __init__(self, session: Any, device: str) -> None:
        self._session = session
        self._device = device
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name
        self._buffer: Any = None

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """The output for the one input, both on the host."""
        values = np.ascontiguousarray(values)
        if self._buffer is None or tuple(self._buffer.shape()) != values.shape:
            self._buffer = onnxruntime.OrtValue.ortvalue_from_numpy(values, self._device, 0)
        else:
            self._buffer.update_inplace(values)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input, self._buffer)
        binding.bind_output(self._output, self._device)
        self._session.run_with_iobinding(binding)
        (output,) = binding.copy_outputs_to_cpu()
        return np.asarray(output)
