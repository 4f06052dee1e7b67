"""Runs a network by OpenVINO on the CPU: its own files (IR), or an ONNX file.

OpenVINO takes an ONNX file as it is, so that no other build of onnxruntime is needed, of which only one can be
installed. The precision of a computation is a hint: what the compiled network really computes in is read back.
"""

from __future__ import annotations

import functools
import json
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from export.artifact.records import Precision
from export.runtime.tensors import TensorSpec
from noah.errors import ArtifactError, MissingPackageError, UsageError
from noah.hardware.cores import Cores, choose_threads
from noah.runs.export_command import export_again

PROVIDER = "OpenVINO CPU"
"""How results and tables call what runs here; --provider takes it and "openvino"."""
_DEVICE = "CPU"
_SECTION = "noah"
"""The section of an IR file's metadata that holds noah's notes, which are those of an ONNX file, without `noah.`."""
_HINTS: dict[str, tuple[str, str]] = {"bf16": ("BF16", "bf16"), "fp16": ("FP16", "f16")}
"""Precision: the capability that a device needs for it, and the hint."""
_COMPUTED = ("Convolution", "FullyConnected", "MatMul", "MHA", "MVN", "RMSNorm", "ScaledDotProductAttention", "Softmax")
PRODUCTS = ("Convolution", "FullyConnected", "MatMul")
"""The kinds of layers that take the time."""
_TYPES = {"f32": "float32", "f16": "float16", "bf16": "bfloat16", "i8": "int8", "u8": "int8"}


def load_openvino() -> Any:
    """Import the package.

    Raises:
        MissingPackageError: If it is not installed or cannot be loaded.
    """
    try:
        import openvino
    except Exception as error:  # a broken installation may raise anything on import
        missing = isinstance(error, ModuleNotFoundError)
        problem = "is not installed" if missing else f"cannot be loaded: {' '.join(str(error).split())}"
        raise MissingPackageError(f"openvino {problem}.", "Type: pip install 'noah-prompt-search[openvino]'") from error
    return openvino


def openvino_core() -> Any:
    """OpenVINO itself, the same for the whole process.

    On some CPUs a core sets up the stack on which the system runs handlers of signals, and takes it away when it ends.
    If two overlap and the first ends before the second, that stack is gone, and the next signal ends the process:
    Ctrl-C, or that a child has ended (openvino 2025.3 and 2026.4).

    Raises:
        MissingPackageError: If the package is not installed or cannot be loaded.
    """
    return _core_of(load_openvino())


@functools.cache
def _core_of(openvino: Any) -> Any:
    return openvino.Core()


def read_network(core: Any, file: Path) -> Any:
    """Read an IR file or an ONNX file, whose resizing of images becomes OpenVINO's own that is antialiased as Pillow's.

    OpenVINO leaves the antialiasing out of what it reads from an ONNX file. It also computes sizes in float32: for a
    backbone whose images are cropped but not square, a side halfway between two numbers of pixels may be rounded to the
    other one.
    """
    from openvino import opset15 as opset

    network = core.read_model(file)
    for node in network.get_ops():
        if node.get_type_name() != "Interpolate" or not node.get_attributes()["antialias"]:
            continue
        sides, first = np.array([2, 3]), np.array(0)
        resized = opset.interpolate(
            node.input_value(0),
            opset.gather(node.input_value(1), sides, first),
            "bicubic_pillow" if node.get_attributes()["mode"] == "cubic" else "bilinear_pillow",
            "sizes",
            axes=sides,
            pads_begin=[0] * 4,
            pads_end=[0] * 4,
            cube_coeff=node.get_attributes()["cube_coeff"],
        )
        for taken in node.output(0).get_target_inputs():
            taken.replace_source_output(resized.output(0))
    network.validate_nodes_and_infer_types()
    return network


class OpenVinoModel:
    """A compiled network; made by `open_openvino`.

    A small batch is one request, which uses all threads. A larger one is split over as many requests at a time as
    OpenVINO's hint for throughput asks for on this machine; the network is compiled for that when it is first needed.
    Threads may share it: their batches are run one after the other.

    Attributes:
        provider: `PROVIDER`.
        reason: What it computes in and with how many threads, for printing.
        inputs: Its only input.
        outputs: Its only output.
        metadata: The notes in an IR file, by the names that they have in an ONNX file; empty for an ONNX file.
    """

    def __init__(self, core: Any, network: Any, hint: str, why: str, cores: Cores) -> None:
        self.provider = PROVIDER
        self.inputs = tuple(map(_tensor, network.inputs))
        self.outputs = tuple(map(_tensor, network.outputs))
        self.metadata = read_notes(network)
        self._core, self._network, self._hint, self._threads = core, network, hint, cores.count
        self.compiled = self._compile({"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1})
        self.reason = f"{why}; {cores}"
        self._request = self.compiled.create_infer_request()
        self._queue: Any = None
        self._running = threading.Lock()  # a request holds one input and one output

    def _compile(self, how: dict[str, object]) -> Any:
        own = {"INFERENCE_PRECISION_HINT": self._hint, "INFERENCE_NUM_THREADS": self._threads}
        return self._core.compile_model(self._network, _DEVICE, own | how)

    def run(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Compute the network's only output (B, classes), as float32, from its only input.

        Raises:
            ArtifactError: If it fails on this batch.
        """
        alone = self._threads == 1 or len(values) < 2 * self._threads
        return self._told(self._run_once if alone else self._run_in_streams, values)

    def run_at_once(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """The same in a single request, however large the batch."""
        return self._told(self._run_once, values)

    def _told(
        self, run: Callable[[npt.NDArray[Any]], npt.NDArray[np.float32]], values: npt.NDArray[Any]
    ) -> npt.NDArray[np.float32]:
        """Run it, with what goes wrong as one of noah's errors."""
        taken = self.inputs[0].shape  # which OpenVINO does not always compare with what it is given
        fits = len(taken) == values.ndim and all(a in (None, b) for a, b in zip(taken, values.shape, strict=True))
        if not fits:
            raise ArtifactError(f"The model takes {_sizes(taken)}, not {_sizes(values.shape)}.")
        try:
            with self._running:
                return run(np.ascontiguousarray(values))
        except Exception as error:  # OpenVINO raises RuntimeError, and TypeError for what is no array
            raise ArtifactError(
                f"The model failed on a batch of {len(values)} images: {one_line(error)}.",
                "If memory ran out, try a smaller --batch-size.",
            ) from error

    def _run_once(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return np.array(self._request.infer([values])[0], np.float32)

    def _run_in_streams(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        if self._queue is None:
            compiled = self._compile({"PERFORMANCE_HINT": "THROUGHPUT"})
            self._queue = load_openvino().AsyncInferQueue(compiled)  # as many requests as the device likes best
        parts: dict[int, npt.NDArray[np.float32]] = {}
        # A callback that knew this model would keep it, and its files open, for ever.
        self._queue.set_callback(functools.partial(_keep, parts))
        for number, part in enumerate(np.array_split(values, min(len(self._queue), len(values)))):
            self._queue.start_async([part], number)
        self._queue.wait_all()
        return np.concatenate([parts[number] for number in sorted(parts)])

    def computed_types(self) -> dict[str, dict[str, int]]:
        """Count the layers of the compiled network by the type that they compute in, read back from OpenVINO."""
        found: dict[str, Counter[str]] = {}
        for layer in self.compiled.get_runtime_model().get_ops():
            kind, primitive = (_text(layer, name) for name in ("layerType", "primitiveType"))
            if kind in _COMPUTED:
                name = primitive.rpartition("_")[2].lower()  # as brgconv_avx512_bf16
                found.setdefault(kind, Counter())[_TYPES.get(name, name)] += 1
        return {kind: dict(sorted(counts.items())) for kind, counts in sorted(found.items())}


def open_openvino(
    file: Path, precision: Precision, *, provider: str | None = None, threads: int | None = None
) -> OpenVinoModel:
    """Compile an IR file or an ONNX file for the CPU.

    Args:
        file: `model.xml`, with its weights beside it, or an ONNX file.
        precision: What to compute in. On a device without bf16 or fp16, float32 takes their place; with int8, what is
            not in 8 bits is computed in float32.
        provider: What was asked for; None, "cpu" and what `is_openvino` accepts.
        threads: Threads on the CPU; None takes what `noah.hardware.cores` chooses.

    Raises:
        ArtifactError: If it cannot be opened.
        MissingPackageError: If the package is not installed.
        UsageError: If `provider` is another, or `threads` is below 1.
    """
    if threads is not None and threads < 1:
        raise UsageError(f"threads is {threads}, but must be at least 1.", "Leave it out, and noah chooses.")
    if provider is not None and provider.lower() != "cpu" and not is_openvino(provider):
        raise UsageError(
            f"--provider {provider} does not run {file}, which is for OpenVINO.", "Leave it out, or name openvino."
        )
    core = openvino_core()
    hint, why = choose_hint(precision, core.get_property(_DEVICE, "OPTIMIZATION_CAPABILITIES"))
    cores = Cores(threads, "as asked for") if threads else choose_threads()
    try:
        return OpenVinoModel(core, read_network(core, file), hint, why, cores)
    except RuntimeError as error:
        raise ArtifactError(f"Cannot open {file}: {one_line(error)}.", export_again(file.parent)) from error


def is_openvino(provider: str | None) -> bool:
    """Whether --provider means OpenVINO."""
    return provider is not None and provider.lower() in ("openvino", PROVIDER.lower())


def choose_hint(precision: Precision, capabilities: list[str]) -> tuple[str, str]:
    """Choose the hint for a precision, and say what will be computed in.

    Without a device's own bf16 or fp16, OpenVINO would take another half precision than the one that was proved.
    """
    if precision not in _HINTS:
        return "f32", "computes in 8 bits and float32" if precision.startswith("int8") else "computes in float32"
    capability, hint = _HINTS[precision]
    if capability in capabilities:
        return hint, f"computes in {precision}"
    return "f32", f"computes in float32, because this CPU has no {precision}"


def write_notes(network: Any, notes: dict[str, Any]) -> None:
    """Put notes into a network's metadata, each as JSON in ASCII."""
    for name, value in notes.items():
        network.set_rt_info(json.dumps(value), [_SECTION, name.removeprefix(f"{_SECTION}.")])


def read_notes(network: Any) -> dict[str, str]:
    """Give the notes in a network's metadata as JSON, by the names that they have in an ONNX file."""
    if not network.has_rt_info([_SECTION]):
        return {}
    found = network.get_rt_info([_SECTION])
    return {f"{_SECTION}.{name}": str(_value(value)) for name, value in dict(_value(found)).items()}


def one_line(error: Exception) -> str:
    """The last line of OpenVINO's message, which says what is wrong; the others say where in its own code."""
    lines = [line.strip() for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else type(error).__name__


def _keep(parts: dict[int, npt.NDArray[np.float32]], request: Any, number: int) -> None:
    parts[number] = np.array(request.get_output_tensor(0).data, np.float32)


def _sizes(shape: Sequence[int | str | None]) -> str:
    return f"({', '.join('batch' if size is None else str(size) for size in shape)})"


def _tensor(port: Any) -> TensorSpec:
    sizes = (None if size.is_dynamic else size.get_length() for size in port.partial_shape)
    return TensorSpec(port.any_name, np.dtype(port.element_type.to_dtype()).name, tuple(sizes))


def _text(layer: Any, name: str) -> str:
    notes = layer.get_rt_info()
    return str(_value(notes[name])) if name in notes else ""


def _value(found: Any) -> Any:
    """What OpenVINO wraps in an object of its own."""
    return found.value if hasattr(found, "value") else found
