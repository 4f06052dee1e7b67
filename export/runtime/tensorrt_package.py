"""Chooses which of the two TensorRT packages builds an engine here, and says why.

`tensorrt` times kernels on the GPU that it builds for, so it needs one; `tensorrt-rtx` writes an engine ahead of time
for the compute capabilities that it is given, and the GPU's own kernels are compiled when the engine is loaded. Their
Python interfaces are the same except for the targets.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from export.artifact.records import Precision
from noah.errors import MissingPackageError, UsageError
from noah.hardware.gpu import gpu_name_and_target, why_no_gpu
from noah.runs.export_command import export_beside

Package = Literal["tensorrt", "tensorrt-rtx"]

PORTABLE_TARGETS: dict[Precision, tuple[str, ...]] = {
    "fp32": ("sm75", "sm80", "sm86", "sm89", "sm120"),
    "fp16": ("sm75", "sm80", "sm86", "sm89", "sm120"),
    "bf16": ("sm80", "sm86", "sm89", "sm120"),
    "int8": ("sm75", "sm80", "sm86", "sm89", "sm120"),
}
"""Compute capabilities of an ahead-of-time engine if none are named; Turing (sm75) does not support bf16."""

_MODULES: dict[Package, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_INSTALL = "Type: pip install tensorrt-rtx (Linux or Windows, x86-64)"


@dataclass(frozen=True)
class Builder:
    """The package that builds an engine, and the GPUs that it builds for.

    Attributes:
        package: Name on PyPI.
        version: The installed version.
        reason: Why this package was chosen, for printing.
        targets: Compute capabilities, as sm89; `tensorrt` builds only for the GPU's own.
    """

    package: Package
    version: str
    reason: str
    targets: tuple[str, ...]


def choose_builder(precision: Precision, targets: Sequence[str] | None) -> Builder:
    """Choose `tensorrt` if it imports and there is a GPU; otherwise, or if targets are named, `tensorrt-rtx`.

    Args:
        precision: The engine's precision; decides the default targets of `tensorrt-rtx`.
        targets: Compute capabilities, as sm89; None takes those of the chosen package.

    Raises:
        UsageError: If engines do not support the precision, or the package or a target does not.
        MissingPackageError: If the package is not installed.
    """
    if precision not in PORTABLE_TARGETS:
        raise UsageError(
            f"Engines do not support {precision}: their scales are fixed when they are built.",
            "Use --precision int8, or --format onnx.",
        )
    if targets is None:
        reason = _why_not_tensorrt()
        if not reason:
            name, target = gpu_name_and_target()
            version = str(load_package("tensorrt").__version__)
            return Builder("tensorrt", version, f"it is installed, and {name} is here", (target,))
    else:
        reason = "--target asks for engines built ahead of time"
    module = load_package("tensorrt-rtx")
    chosen = PORTABLE_TARGETS[precision] if targets is None else tuple(dict.fromkeys(targets))
    _check_targets(chosen, known_targets(module), precision)
    return Builder("tensorrt-rtx", str(module.__version__), reason, chosen)


def choose_served(precision: Precision) -> Builder | None:
    """Choose the builder of the engine that Triton Inference Server serves; None if it serves the ONNX file.

    Triton's backend only runs engines built by `tensorrt`, which needs a GPU to build them.
    """
    return None if why_not_served(precision) else choose_builder(precision, None)


def why_not_served(precision: Precision) -> str:
    """Say why Triton serves no engine, as a sentence without a period; empty if it serves one."""
    if precision not in PORTABLE_TARGETS:
        return f"engines do not support {precision}"
    try:
        load_package("tensorrt")
    except MissingPackageError as error:
        return f"Triton only runs engines built by tensorrt, and {error.problem.rstrip('.')}"
    missing = why_no_gpu()
    return f"Triton only runs engines built by tensorrt, which needs a GPU, and {missing}" if missing else ""


def load_package(package: Package) -> Any:
    """Import one of the two packages.

    Raises:
        MissingPackageError: If it is not installed or cannot be loaded.
    """
    try:
        return importlib.import_module(_MODULES[package])
    except Exception as error:  # a broken installation raises RuntimeError, OSError and others
        missing = isinstance(error, ModuleNotFoundError)
        problem = "is not installed" if missing else f"cannot be loaded: {' '.join(str(error).split())}"
        raise MissingPackageError(
            f"{package} {problem}.", _INSTALL if package == "tensorrt-rtx" else "Type: pip install tensorrt"
        ) from error


def known_targets(module: Any) -> tuple[str, ...]:
    """List the compute capabilities that the installed `tensorrt_rtx` builds for, in ascending order."""
    names = (name.lower() for name in module.ComputeCapability.__members__)
    return tuple(sorted((name for name in names if re.fullmatch(r"sm\d+", name)), key=lambda name: int(name[2:])))


def how_to_build_for(target: str, artifact: Path) -> str:
    """What to type for an engine that runs on this machine's GPU, of the run of an artifact that does not.

    Args:
        target: The GPU's compute capability, such as sm89.
        artifact: The folder of the artifact.
    """
    try:
        known = known_targets(load_package("tensorrt-rtx"))
    except MissingPackageError:
        known = (target,)  # the command says how it is installed
    if target in known:
        return export_beside(artifact, f"--format trt --target {target}")
    then = export_beside(artifact, "--format trt")
    return f"pip install tensorrt, as tensorrt-rtx builds none for {target}, and then {then}"


def parse_targets(text: str) -> tuple[str, ...]:
    """Read targets written like `sm89,sm120`; `89`, `SM89` and `8.9` are accepted too."""
    parts = (part.strip().lower().removeprefix("sm").removeprefix("_").replace(".", "") for part in text.split(","))
    return tuple(f"sm{part}" for part in parts)


def _check_targets(targets: tuple[str, ...], known: tuple[str, ...], precision: Precision) -> None:
    hint = f"Targets: {', '.join(known)}."
    for target in targets:
        if target == "sm90":
            raise UsageError("tensorrt-rtx does not support Hopper (sm90).", f"Use tensorrt there. {hint}")
        if target not in known:
            raise UsageError(f"tensorrt-rtx does not support --target {target}.", hint)
        if precision == "bf16" and int(target[2:]) < 80:
            raise UsageError(f"{target} does not support bf16.", "Leave that target out, or use --precision fp16.")


def _why_not_tensorrt() -> str:
    """Say why `tensorrt` cannot build here, as a sentence without a period; empty if it can."""
    try:
        load_package("tensorrt")
    except MissingPackageError as error:
        return f"it needs no GPU to build, and {error.problem.rstrip('.')}"
    missing = why_no_gpu()
    return f"tensorrt needs a GPU to build, and {missing}" if missing else ""


def make_log(trt: Any) -> Any:
    """Make a logger for the package that prints nothing and collects text in its lists `errors` and `warnings`.

    Args:
        trt: The module `tensorrt` or `tensorrt_rtx`.
    """

    class Log(trt.ILogger):  # type: ignore[misc]  # the base class comes with the package chosen at run time
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []
            self.warnings: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            text = " ".join(message.split()).rstrip(".")
            if severity in (trt.ILogger.Severity.ERROR, trt.ILogger.Severity.INTERNAL_ERROR):
                self.errors.append(text)
            elif severity == trt.ILogger.Severity.WARNING and text not in self.warnings:
                self.warnings.append(text)

    return Log()
