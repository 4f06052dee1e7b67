"""Runs a TensorRT engine on the GPU, with torch's CUDA tensors as device memory."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.artifact.records import EngineRecord, EngineTensor
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import how_to_build_for, load_package, make_log
from export.runtime.tensors import TensorSpec
from noah.errors import ArtifactError, NotHereError
from noah.hardware.gpu import gpu_name_and_target, why_no_gpu
from noah.runs.export_command import export_again, export_beside


class Engine:
    """A loaded engine; made by `open_engine`. Threads may share it, and take turns.

    Attributes:
        provider: Package, version and GPU, as `tensorrt-rtx 1.7.1 on NVIDIA RTX 4090`.
        reason: Why it runs on that provider, for printing.
        inputs: Its only input.
        outputs: Its only output.
        metadata: Always empty: an engine carries no notes.
    """

    def __init__(self, loaded: Any, logger: Any, record: EngineRecord, gpu: str) -> None:
        import torch

        self.provider = f"{record.package} {record.version} on {gpu}"
        self.reason = "an engine runs on the GPU that it was built for"
        self.inputs = tuple(map(_tensor, record.inputs))
        self.outputs = tuple(map(_tensor, record.outputs))
        self.metadata: dict[str, str] = {}
        self._profile = Profile(record.profile.minimum, record.profile.optimum, record.profile.maximum)
        self._logger = logger  # the engine logs to it for as long as it lives
        self._engine = loaded
        self._context = loaded.create_execution_context()
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        self._running = threading.Lock()  # the context holds one input and one output

    def run(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Compute outputs (B, classes) for any number of images, in batches that the profile allows.

        Raises:
            ArtifactError: If the engine fails.
        """
        return np.concatenate(
            [self._run_once(values[rows])[:count] for rows, count in batches(len(values), self._profile)]
        )

    def _run_once(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        import torch

        (given,), (result,) = self.inputs, self.outputs
        with self._running, torch.cuda.stream(self._stream):
            images = torch.from_numpy(np.ascontiguousarray(values)).cuda()
            outputs = torch.empty((len(values), *_sizes(result)), dtype=getattr(torch, result.type), device="cuda")
            done = (
                self._context.set_input_shape(given.name, tuple(images.shape))
                and self._context.set_tensor_address(given.name, images.data_ptr())
                and self._context.set_tensor_address(result.name, outputs.data_ptr())
                and self._context.execute_async_v3(self._stream.cuda_stream)
            )
            self._stream.synchronize()
        if not done:
            cause = "; ".join(self._logger.errors) or "no reason was given"
            raise ArtifactError(
                f"The engine failed on a batch of {len(values)} images: {cause}.",
                "If memory ran out, try a smaller --batch-size.",
            )
        return outputs.float().cpu().numpy()


def open_engine(file: Path, record: EngineRecord) -> Engine:
    """Load an engine on the first GPU.

    Raises:
        NotHereError: If there is no GPU, the GPU is not one of its targets, or another version of the package built it.
        ArtifactError: If it cannot be loaded.
        MissingPackageError: If its package is not installed.
    """
    if missing := why_no_gpu():
        raise NotHereError(
            f"{file} is a TensorRT engine, which needs an NVIDIA GPU, but {missing}.", _onnx_instead(file)
        )
    gpu, target = gpu_name_and_target()
    if missing := why_not_run(record):
        raise NotHereError(
            f"{file} does not run here: {missing}.", f"Export for this GPU: {how_to_build_for(target, file.parent)}"
        )
    trt = load_package(record.package)
    if trt.__version__ != record.version:
        raise NotHereError(
            f"{file} was built by {record.package} {record.version}, but {trt.__version__} is installed; an engine "
            "runs only on the version that built it.",
            f"{export_again(file.parent)}, or: pip install {record.package}=={record.version}",
        )
    log = make_log(trt)
    loaded = trt.Runtime(log).deserialize_cuda_engine(file.read_bytes())
    if loaded is None:
        raise ArtifactError(
            f"{file} cannot be loaded: {'; '.join(log.errors) or 'no reason was given'}.", _onnx_instead(file)
        )
    return Engine(loaded, log, record, gpu)


def _onnx_instead(file: Path) -> str:
    return f"Use the model.onnx beside it, or export one: {export_beside(file.parent, '--format onnx')}"


def why_not_run(record: EngineRecord) -> str:
    """Say why an engine cannot run on this machine, as the end of a sentence; empty if it can."""
    if missing := why_no_gpu():
        return missing
    gpu, target = gpu_name_and_target()
    return "" if target in record.targets else f"it was built for {', '.join(record.targets)}, but {gpu} is {target}"


def batches(count: int, profile: Profile) -> Iterator[tuple[npt.NDArray[np.intp], int]]:
    """Split images into batches that a profile allows.

    Yields:
        The rows to run, and how many of the outputs count. A batch that is too small is filled up with its last image.
    """
    for start in range(0, count, profile.maximum):
        rows = np.arange(start, min(start + profile.maximum, count))
        filled = np.concatenate([rows, np.full(max(profile.minimum - len(rows), 0), rows[-1])])
        yield filled, len(rows)


def _tensor(record: EngineTensor) -> TensorSpec:
    return TensorSpec(record.name, record.type, tuple(None if size < 0 else size for size in record.shape))


def _sizes(tensor: TensorSpec) -> tuple[int, ...]:
    """The sizes of all axes but the batch."""
    return tuple(size for size in tensor.shape[1:] if isinstance(size, int))
