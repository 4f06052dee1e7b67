"""Opens an ONNX file in onnxruntime on a provider that really runs here, and says why that one was chosen.

onnxruntime lists the providers that it was compiled with; a GPU provider in that list may find no driver or miss a
library, and is then dropped with a few red lines on standard error. Only the opened session knows which one runs. On a
GPU, its inputs and outputs stay there (`BoundRun`).
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from export.runtime.before_head import with_features
from export.runtime.tensors import TensorSpec
from noah.errors import ArtifactError, UsageError
from noah.hardware.cores import Cores, choose_threads
from noah.hardware.gpu import has_nvidia_driver
from noah.runs.export_command import export_again

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
TENSORRT = "TensorrtExecutionProvider"

GPU_PROVIDERS = (TENSORRT, CUDA)
"""The GPU providers in the order in which they are tried."""
_SHORT = {TENSORRT: "TensorRT", CUDA: "CUDA"}

_PROVIDER_OPTIONS = {CUDA: {"use_tf32": "0"}}
"""CUDA would otherwise round float32 matrix products to TF32's 10 bits, which parity was not checked in."""

_TYPES = {"tensor(float)": "float32", "tensor(float16)": "float16", "tensor(uint8)": "uint8"}

_WEIGHTS_BESIDE = "session.model_external_initializers_file_folder_path"
"""The setting that says where a graph in memory finds weights that lie in a file of their own."""

_SILENT, _ERRORS, _WARNINGS = 4, 3, 2  # onnxruntime's log levels; warnings are its default.


@dataclass(frozen=True)
class OpenSession:
    """An open model.

    Attributes:
        session: An `onnxruntime.InferenceSession`.
        provider: Full name of the provider that runs it.
        reason: Why that one was chosen.
        gives_features: Whether the session has the features before the head as a second output.
    """

    session: Any
    provider: str
    reason: str
    gives_features: bool = False

    @cached_property
    def _bound(self) -> BoundRun | None:
        """The session with its tensors on the GPU; None if it runs on the CPU."""
        return BoundRun(self.session, "cuda") if self.provider in GPU_PROVIDERS else None

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that the model takes."""
        return tuple(map(_tensor, self.session.get_inputs()))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The tensors that the model gives, without the features."""
        found = tuple(map(_tensor, self.session.get_outputs()))
        return found[:-1] if self.gives_features else found

    @property
    def metadata(self) -> dict[str, str]:
        """The notes that the file carries."""
        return dict(self.session.get_modelmeta().custom_metadata_map)

    def run(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Compute the model's only output, as float32, from its only input.

        Raises:
            ArtifactError: If the model fails on this batch.
        """
        with _failing(values):
            if self._bound is not None:
                return np.asarray(self._bound(values), np.float32)
            (outputs,) = self.session.run([self.outputs[0].name], {self.session.get_inputs()[0].name: values})
            return np.asarray(outputs, np.float32)

    def run_with_features(self, values: npt.NDArray[Any]) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Compute the output, and the features before the head (B, d); both as float32.

        Raises:
            ArtifactError: If the model fails on this batch.
            ValueError: If it was not opened for them.
        """
        if not self.gives_features:
            raise ValueError("the model was not opened with features")
        with _failing(values):
            outputs, features = self.session.run(None, {self.session.get_inputs()[0].name: values})
            return np.asarray(outputs, np.float32), np.asarray(features, np.float32).reshape(len(values), -1)


@contextlib.contextmanager
def _failing(values: npt.NDArray[Any]) -> Iterator[None]:
    """Turn the errors of a run into one of noah's."""
    try:
        yield
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise ArtifactError(
            f"The model failed on a batch of {len(values)} images: {one_line(error)}.",
            "If memory ran out, try a smaller --batch-size.",
        ) from error


def open_session(
    model: Path, *, provider: str | None = None, threads: int | None = None, features: bool = False
) -> OpenSession:
    """Open a model on the first of TensorRT, CUDA and CPU that runs here, or only on `provider` if it is given.

    Args:
        model: An ONNX file.
        provider: "cpu", "cuda", "tensorrt" or another of onnxruntime's providers, by short or full name.
        threads: Threads for one operator on the CPU; None takes what `noah.hardware.cores` chooses.
        features: Whether the model is also to give the features before its head (`OpenSession.run_with_features`).

    Raises:
        ArtifactError: If the model cannot be opened, has no features, or `provider` does not run here.
        UsageError: If there is no such provider, or `threads` is below 1.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}, but must be at least 1.", "Leave it out, and noah chooses.")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS
    cores = Cores(threads, "as asked for") if threads else choose_threads()
    options.intra_op_num_threads = cores.count
    # Idle threads would otherwise keep spinning and slow those that decode images or run another model.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    available = onnxruntime.get_available_providers()
    graph: Path | bytes = model
    if features:
        graph = with_features(model)
        options.add_session_config_entry(_WEIGHTS_BESIDE, str(model.absolute().parent))
    asked = None if provider is None else _full_name(provider)
    opened = _open_somewhere(graph, options, asked, available, cores)
    return replace(opened, gives_features=features)


def _open_somewhere(
    model: Path | bytes, options: Any, provider: str | None, available: list[str], cores: Cores
) -> OpenSession:
    """Open a model, or a graph in memory, on the provider that was asked for or else on the first that runs."""
    if provider is not None:
        return _open_on(model, options, provider, available, cores, reason="asked for")
    why_not = "this onnxruntime is built without CUDA"
    for tried in GPU_PROVIDERS:
        if tried in available:
            also = f"; {why_not}" if tried == CUDA and TENSORRT in available else ""
            try:
                return _open_on(
                    model, options, tried, available, cores, reason=f"{_SHORT[tried]} runs on this machine{also}"
                )
            except ArtifactError as failure:
                why_not = failure.problem.rstrip(".")
    return OpenSession(_open(model, options, [CPU]), CPU, f"{why_not}; {cores}")


def one_line(error: Exception) -> str:
    """The message of an onnxruntime error, without its code and on one line."""
    text = re.sub(r"^\[ONNXRuntimeError\] : \d+ : \w+ : ", "", str(error).strip())
    return " ".join(text.split()).rstrip(".") or type(error).__name__


def _tensor(found: Any) -> TensorSpec:
    return TensorSpec(found.name, _TYPES.get(found.type, found.type), tuple(found.shape))


def _full_name(provider: str) -> str:
    """Find the provider that a person means by "cuda", "CUDA" or "CUDAExecutionProvider"."""
    known = onnxruntime.get_all_providers()
    for name in known:
        if provider.lower() in (name.lower(), _short(name)):
            return str(name)
    names = ", ".join(map(_short, onnxruntime.get_available_providers()))
    raise UsageError(f"onnxruntime has no provider {provider!r}.", f"Installed here: {names}.")


def is_cpu(provider: str | None) -> bool:
    """Whether --provider means onnxruntime's CPU provider."""
    return provider is not None and provider.lower() in (CPU.lower(), _short(CPU))


def _short(provider: str) -> str:
    return provider.removesuffix("ExecutionProvider").lower()


def _open_on(
    model: Path | bytes, options: Any, provider: str, available: list[str], cores: Cores, reason: str
) -> OpenSession:
    """Open the model on one provider; any operators that the provider does not have run on the CPU."""
    hint = f"Installed here: {', '.join(map(_short, available))}; if none is named, noah takes one that runs."
    if provider not in available:
        raise ArtifactError(f"This onnxruntime is built without {provider}.", hint)
    if provider == CPU:
        return OpenSession(_open(model, options, [CPU]), CPU, f"{reason}; {cores}")
    if provider in GPU_PROVIDERS and not has_nvidia_driver():
        raise ArtifactError(f"{provider} does not run here: this machine has no NVIDIA driver.", hint)
    if provider == TENSORRT:  # unlike CUDA, it has no provider option for this (see `_PROVIDER_OPTIONS`)
        os.environ.setdefault("NVIDIA_TF32_OVERRIDE", "0")
    missing = _preload_cuda() if provider in GPU_PROVIDERS else ""
    try:
        session = _open(model, options, [(provider, _PROVIDER_OPTIONS.get(provider, {})), CPU])
    except ArtifactError as error:
        raise ArtifactError(f"{provider} does not run here: {missing or error.problem}", hint) from error
    if session.get_providers()[0] != provider:
        raise ArtifactError(f"{provider} does not run here: {missing or 'it did not start.'}", hint)
    return OpenSession(session, provider, reason)


def _open(model: Path | bytes, options: Any, providers: list[Any]) -> Any:
    """Open a session without onnxruntime's own fallback, which prints and hides which provider runs."""
    try:
        with _quiet():
            return onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
    except Exception as error:  # onnxruntime's exceptions have no common base
        what, hint = "the model with its features", "Export it again: noah export"
        if isinstance(model, Path):
            what, hint = str(model), export_again(model.parent)
        raise ArtifactError(f"Cannot open {what}: {one_line(error)}.", hint) from error


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the lines that onnxruntime logs before a session and its log level exist."""
    onnxruntime.set_default_logger_severity(_SILENT)
    try:
        yield
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)


def _preload_cuda() -> str:
    """Load the CUDA libraries that pip installed, where onnxruntime would not look, and say which one is missing.

    onnxruntime prints the name of a missing library here; when a session is opened, it only logs it.
    """
    printed = io.StringIO()
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(printed):
            onnxruntime.preload_dlls()
    missing = re.search(r"Failed to load (\S+):", printed.getvalue())
    return f"{missing[1]} is missing; pip install 'onnxruntime-gpu[cuda,cudnn]' brings it." if missing else ""


class BoundRun:
    """A session whose only input and only output are bound to a device; threads may share it, and take turns.

    Args:
        session: An `onnxruntime.InferenceSession`.
        device: onnxruntime's name for the device, "cuda" or "cpu".
    """

    def __init__(self, session: Any, device: str) -> None:
        self._session = session
        self._device = device
        self._input = session.get_inputs()[0].name
        self._output = session.get_outputs()[0].name
        self._buffer: Any = None
        self._running = threading.Lock()  # the buffer holds one input

    def __call__(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Compute the output from the input, both in host memory."""
        values = np.ascontiguousarray(values)
        with self._running:
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
