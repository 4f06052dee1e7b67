"""Converts a program of torch.export to Core ML's own format, by coremltools. Only macOS can run the result."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch.export import ExportedProgram

from export.runtime.tensors import INPUT_NAME
from noah.errors import ExportError, MissingPackageError

PACKAGE = "model.mlpackage"
OUTPUT_NAME = "logits"
_REPORT = "Nothing was written. Please report this with the backbone's name."


def load_coremltools() -> Any:
    """Import the package.

    Raises:
        MissingPackageError: If it is not installed or cannot be loaded.
    """
    try:
        with _quiet():
            import coremltools
    except Exception as error:  # a broken installation may raise anything on import
        missing = isinstance(error, ModuleNotFoundError)
        problem = "is not installed" if missing else f"cannot be loaded: {' '.join(str(error).split())}"
        raise MissingPackageError(
            f"coremltools {problem}.", "Type: pip install 'noah-prompt-search[coreml]'"
        ) from error
    return coremltools


def write_coreml(program: ExportedProgram, path: Path, notes: dict[str, Any]) -> None:
    """Convert a program in float32, and write it as an ML program for iOS 16, macOS 13 and newer.

    Args:
        program: With one input of a fixed size and one output.
        path: The folder to write, which ends in .mlpackage.
        notes: What its metadata tells, each as JSON.

    Raises:
        ExportError: If it cannot be converted.
    """
    tools = load_coremltools()
    try:
        with _quiet():
            model = tools.convert(
                program.run_decompositions({}),
                inputs=[tools.TensorType(name=INPUT_NAME)],
                outputs=[tools.TensorType(name=OUTPUT_NAME)],
                convert_to="mlprogram",
                minimum_deployment_target=tools.target.iOS16,
                compute_precision=tools.precision.FLOAT32,
                skip_model_load=True,
            )
            model.user_defined_metadata.update({name: json.dumps(value) for name, value in notes.items()})
            model.save(str(path))
    except Exception as error:  # it raises many kinds of errors
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(
            f"coremltools {tools.__version__} cannot convert the model: {cause}",
            "Nothing was written. An ONNX artifact runs on a Mac, too: noah export --format onnx",
        ) from error


def check_coreml(path: Path, shape: tuple[int, ...], classes: tuple[str, ...]) -> dict[str, int]:
    """Read a package again and compare what it says with what was asked for.

    Args:
        path: The folder that ends in .mlpackage.
        shape: Of the input.
        classes: The labels, which its metadata has to name in this order.

    Returns:
        How many weights of each type it holds.

    Raises:
        ExportError: If a check fails; names the check.
    """
    tools = load_coremltools()
    with _quiet():
        spec = tools.models.utils.load_spec(str(path))
    if spec.WhichOneof("Type") != "mlProgram":
        raise ExportError(f"The package fails the type check: it is {spec.WhichOneof('Type')}, no ML program.", _REPORT)
    found = [_end(port) for port in (*spec.description.input, *spec.description.output)]
    expected = [(INPUT_NAME, shape, "FLOAT32"), (OUTPUT_NAME, (shape[0], len(classes)), "FLOAT32")]
    if found != expected:
        raise ExportError(f"The package fails the shape check: it has {found}, not {expected}.", _REPORT)
    if json.loads(spec.description.metadata.userDefined.get("noah.classes", "[]")) != list(classes):
        raise ExportError("The package fails the label check.", _REPORT)
    weights: Counter[str] = Counter()
    for block in spec.mlProgram.functions["main"].block_specializations.values():
        for operation in block.operations:
            value = operation.attributes["val"] if operation.type == "const" else None
            if value is not None and value.WhichOneof("value") == "blobFileValue":
                weights[tools.proto.MIL_pb2.DataType.Name(value.type.tensorType.dataType).lower()] += 1
    if not weights["float32"] or weights["float16"]:
        raise ExportError(f"The package fails the type check: its weights are {dict(weights)}.", _REPORT)
    return dict(sorted(weights.items()))


def _end(port: Any) -> tuple[str, tuple[int, ...], str]:
    """Name, shape and type of an input or output."""
    kind = port.type.multiArrayType
    return port.name, tuple(kind.shape), kind.ArrayDataType.Name(kind.dataType)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence progress bars and notes about versions of torch and libraries of macOS."""
    logger = logging.getLogger("coremltools")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
