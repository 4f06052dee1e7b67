"""Builds a TensorRT engine from an ONNX file, with `tensorrt` or `tensorrt-rtx`.

The network is strongly typed: it computes in the types of the ONNX file, whatever the builder's flags. Types, profile
and targets are read back from the network and its configuration before anything is built, since a finished engine can
be opened only on a machine with a GPU.
"""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import Any

from export.artifact.records import NOT_VERIFIED, EngineProfile, EngineRecord, EngineTensor, Precision
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import Builder, load_package, make_log
from noah.errors import ExportError
from noah.files.atomic import atomic_file

_LOW = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16", "int8": "FLOAT"}
"""TensorRT's name for the type that a product returns, by precision."""
_PRODUCTS = ("CONVOLUTION", "MATRIX_MULTIPLY")
_KEPT = ("NORMALIZATION", "SOFTMAX")
_QUANTIZE = "QUANTIZE"
_TYPES = {"FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "UINT8": "uint8", "INT8": "int8"}
_REPORT = "Nothing was written. Please report this with the backbone's name."


def build_engine(
    onnx_file: Path, engine_file: Path, builder: Builder, profile: Profile, precision: Precision, timing_cache: Path
) -> EngineRecord:
    """Build an engine and describe it.

    Args:
        onnx_file: In the engine's precision, with one input whose batch axis is free.
        engine_file: The file to write; `trtexec --loadEngine` reads it.
        builder: The package and its targets.
        profile: The smallest, usual and largest batch.
        precision: The precision that the typed network has to compute in.
        timing_cache: Kept from build to build, it makes `tensorrt` faster; `tensorrt-rtx` has none.

    Raises:
        ExportError: If the parser or the builder fails, with its full message, or the network is not what was asked
            for.
    """
    trt = load_package(builder.package)
    log = make_log(trt)
    maker = trt.Builder(log)
    network = maker.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    _parse(trt, network, log, onnx_file)
    layers = _read_layers(network)
    _check_layers(layers, precision)
    config = maker.create_builder_config()
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 means float32: parity was not checked in less
    found = _set_profile(maker, network, config, profile)
    targets = _set_targets(trt, config, builder)
    cache = _TimingCache(builder, config, timing_cache)
    started = time.monotonic()
    built = maker.build_serialized_network(network, config)
    seconds = time.monotonic() - started
    if built is None:
        cause = "; ".join(log.errors) or "no reason was given"
        raise ExportError(
            f"{builder.package} {builder.version} cannot build the engine: {cause}.",
            "The ONNX artifact runs in onnxruntime: noah export --format onnx",
        )
    engine_file.write_bytes(memoryview(built))
    return EngineRecord(
        package=builder.package,
        version=builder.version,
        reason=builder.reason,
        targets=targets,
        profile=found,
        inputs=tuple(_tensor(network.get_input(index)) for index in range(network.num_inputs)),
        outputs=tuple(_tensor(network.get_output(index)) for index in range(network.num_outputs)),
        layers=layers,
        timing_cache=cache.keep(),
        build_seconds=round(seconds, 3),
        warnings=tuple(log.warnings),
        verified=NOT_VERIFIED,
    )


def _parse(trt: Any, network: Any, log: Any, onnx_file: Path) -> None:
    parser = trt.OnnxParser(network, log)
    if parser.parse_from_file(str(onnx_file)) and not parser.num_errors:
        return
    errors = [_parser_error(parser.get_error(index)) for index in range(parser.num_errors)]
    raise ExportError(
        f"TensorRT's parser refuses {onnx_file.name}: {'; '.join(errors or log.errors)}.",
        "The ONNX artifact runs in onnxruntime: noah export --format onnx",
    )


def _parser_error(error: Any) -> str:
    """Format an error as `node 12 'node_MatMul_3' (MatMul): what is wrong [INVALID_NODE, ModelImporter.cpp:489]`."""
    node = f"node {error.node()}" if error.node() >= 0 else "the file"
    name = f" {error.node_name()!r}" if error.node_name() else ""
    operator = f" ({error.node_operator()})" if error.node_operator() else ""
    code = str(error.code()).rpartition(".")[2]
    return f"{node}{name}{operator}: {' '.join(error.desc().split())} [{code}, {error.file()}:{error.line()}]"


def _read_layers(network: Any) -> dict[str, dict[str, int]]:
    """Count the network's products, norms, softmax and quantization layers by the type that they return."""
    found: dict[str, Counter[str]] = {}
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        kind = _last(layer.type)
        if kind in (*_PRODUCTS, *_KEPT, _QUANTIZE):
            found.setdefault(kind, Counter())[_last(layer.get_output(0).dtype)] += 1
    return {kind: dict(counts) for kind, counts in sorted(found.items())}


def _check_layers(layers: dict[str, dict[str, int]], precision: Precision) -> None:
    for kind, counts in layers.items():
        expected = _LOW[precision] if kind in _PRODUCTS else "INT8" if kind == _QUANTIZE else "FLOAT"
        for found, count in counts.items():
            if found != expected:
                raise ExportError(
                    f"The typed network fails the type check: {count} layers of kind {kind} return {found}, but "
                    f"{precision} needs {expected}.",
                    _REPORT,
                )
    if "MATRIX_MULTIPLY" not in layers:
        raise ExportError("The typed network fails the type check: it has no matrix products.", _REPORT)
    if (precision == "int8") != (_QUANTIZE in layers):
        found = "has no" if precision == "int8" else "has"
        raise ExportError(f"The typed network fails the type check: it {found} 8-bit activations.", _REPORT)


def _set_profile(maker: Any, network: Any, config: Any, profile: Profile) -> EngineProfile:
    """Set the configuration's only profile, and read it back."""
    images = network.get_input(0)
    sizes = tuple(images.shape)[1:]
    made = maker.create_optimization_profile()
    made.set_shape(images.name, *((batch, *sizes) for batch in (profile.minimum, profile.optimum, profile.maximum)))
    config.add_optimization_profile(made)
    minimum, optimum, maximum = (int(shape[0]) for shape in made.get_shape(images.name))
    if config.num_optimization_profiles != 1 or (minimum, optimum, maximum) != (
        profile.minimum,
        profile.optimum,
        profile.maximum,
    ):
        raise ExportError(f"The builder did not accept the profile {profile}: it has {minimum}:{optimum}:{maximum}.")
    return EngineProfile(minimum=minimum, optimum=optimum, maximum=maximum)


def _set_targets(trt: Any, config: Any, builder: Builder) -> tuple[str, ...]:
    """Set the targets of `tensorrt-rtx`, and read them back; `tensorrt` builds for this machine's GPU."""
    if builder.package == "tensorrt":
        return builder.targets
    config.num_compute_capabilities = len(builder.targets)
    for index, target in enumerate(builder.targets):
        config.set_compute_capability(trt.ComputeCapability.__members__[target.upper()], index)
    found = tuple(
        _last(config.get_compute_capability(index)).lower() for index in range(config.num_compute_capabilities)
    )
    if found != builder.targets:
        raise ExportError(
            f"The builder did not accept the targets {', '.join(builder.targets)}: it has {', '.join(found)}."
        )
    return found


class _TimingCache:
    """The kernel timings of `tensorrt`, kept from one build to the next; `tensorrt-rtx` measures nothing."""

    def __init__(self, builder: Builder, config: Any, file: Path) -> None:
        self.file = file
        self.cache: Any = None
        if builder.package == "tensorrt":
            before = file.read_bytes() if file.is_file() else b""
            self.cache = config.create_timing_cache(before)
            self.used = config.set_timing_cache(self.cache, False) and bool(before)

    def keep(self) -> str:
        """Write the file, and say whether it was new or extended."""
        if self.cache is None:
            return "none: tensorrt-rtx measures nothing while it builds"
        with atomic_file(self.file) as temporary:
            temporary.write_bytes(memoryview(self.cache.serialize()))
        return f"{self.file.name}, {'used and extended' if self.used else 'begun'}"


def _tensor(tensor: Any) -> EngineTensor:
    kind = _last(tensor.dtype)
    return EngineTensor(name=tensor.name, type=_TYPES.get(kind, kind), shape=tuple(tensor.shape))


def _last(value: Any) -> str:
    """The last part of an enum's name, as `HALF` of `DataType.HALF`."""
    return str(value).rpartition(".")[2]
