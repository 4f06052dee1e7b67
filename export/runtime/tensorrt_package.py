"""Which of the two TensorRT packages builds an engine here, and why that one.

`tensorrt` measures kernels on the GPU that it builds for, so it needs one; `tensorrt-rtx` writes an engine ahead of
time for the compute capabilities that it is told, and the GPU's own kernels are compiled when the engine is loaded.
Their Python interfaces are the same but for the targets.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from export.artifact.records import Precision
from export.runtime.gpu import gpu_name_and_target, why_no_gpu
from noah.errors import MissingPackageError, UsageError

Package = Literal["tensorrt", "tensorrt-rtx"]

PORTABLE_TARGETS: dict[Precision, tuple[str, ...]] = {
    "fp32": ("sm75", "sm80", "sm86", "sm89", "sm120"),
    "fp16": ("sm75", "sm80", "sm86", "sm89", "sm120"),
    "bf16": ("sm80", "sm86", "sm89", "sm120"),
    "int8": ("sm75", "sm80", "sm86", "sm89", "sm120"),
}
"""Compute capabilities of one ahead-of-time engine where none are named; Turing (sm75) has no bf16."""

_MODULES: dict[Package, str] = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
_INSTALL = "Type: pip install tensorrt-rtx (Linux or Windows, x86-64)"


@dataclass(frozen=True)
class Builder:
    """The package that builds, and what it builds for.

    Attributes:
        package: Its name.
        version: Its version.
        reason: Why it is that one.
        targets: Compute capabilities, as in sm89; of `tensorrt` the GPU's own.
    """

    package: Package
    version: str
    reason: str
    targets: tuple[str, ...]


def choose_builder(precision: Precision, targets: Sequence[str] | None) -> Builder:
    """Take `tensorrt` where it imports and a GPU is there, else, or where targets are named, `tensorrt-rtx`.

    Args:
        precision: Decides the portable set of targets.
        targets: Compute capabilities as in sm89; None leaves them to the choice.

    Raises:
        UsageError: If engines have no such precision, or a target is unknown to the package or lacks it.
        MissingPackageError: If the package is not there.
    """
    if precision not in PORTABLE_TARGETS:
        raise UsageError(
            f"Engines have no {precision}: their scales are fixed when they are built.",
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
    """The builder of the engine that Triton Inference Server serves, or None where it serves the ONNX file.

    Triton's backend runs engines of `tensorrt` alone, which needs a GPU to build them.
    """
    return None if why_not_served(precision) else choose_builder(precision, None)


def why_not_served(precision: Precision) -> str:
    """Why Triton serves no engine, as a sentence without a full stop; empty where it does."""
    if precision not in PORTABLE_TARGETS:
        return f"engines have no {precision}"
    try:
        load_package("tensorrt")
    except MissingPackageError as error:
        return f"its engines come from tensorrt alone, and {error.problem.rstrip('.')}"
    missing = why_no_gpu()
    return f"its engines come from tensorrt alone, which needs a GPU to build, and {missing}" if missing else ""


def load_package(package: Package) -> Any:
    """Import one of the two.

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
    """The compute capabilities that the installed `tensorrt_rtx` builds for, ascending."""
    names = (name.lower() for name in module.ComputeCapability.__members__)
    return tuple(sorted((name for name in names if re.fullmatch(r"sm\d+", name)), key=lambda name: int(name[2:])))


def parse_targets(text: str) -> tuple[str, ...]:
    """The targets in `sm89,sm120`; `89`, `SM89` and `8.9` are understood too."""
    parts = (part.strip().lower().removeprefix("sm").removeprefix("_").replace(".", "") for part in text.split(","))
    return tuple(f"sm{part}" for part in parts)


def _check_targets(targets: tuple[str, ...], known: tuple[str, ...], precision: Precision) -> None:
    hint = f"Targets: {', '.join(known)}."
    for target in targets:
        if target == "sm90":
            raise UsageError("tensorrt-rtx builds nothing for Hopper (sm90).", f"Use tensorrt there. {hint}")
        if target not in known:
            raise UsageError(f"tensorrt-rtx builds nothing for --target {target}.", hint)
        if precision == "bf16" and int(target[2:]) < 80:
            raise UsageError(f"{target} has no bf16.", "Leave that target out, or use --precision fp16.")


def _why_not_tensorrt() -> str:
    """Why `tensorrt` cannot build here, as a sentence without a full stop; empty where it can."""
    try:
        load_package("tensorrt")
    except MissingPackageError as error:
        return f"it needs no GPU to build, and {error.problem.rstrip('.')}"
    missing = why_no_gpu()
    return f"tensorrt needs a GPU to build, and {missing}" if missing else ""


def make_log(trt: Any) -> Any:
    """A logger of the package whose `errors` and `warnings` are lists of text; nothing is printed.

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
