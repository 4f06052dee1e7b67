"""`manifest.json`: describes an artifact in enough detail to run it without further information.

The manifest is in the same folder as the files that it describes, and holds their SHA-256. Reading it needs no torch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator
from pydantic_core import ErrorDetails, from_json, to_json

from export.artifact.records import (
    BackboneRecord,
    ChoiceRecord,
    Count,
    EngineRecord,
    ExecutionRecord,
    FileRecord,
    ModelInput,
    ModelOutput,
    Name,
    Parity,
    Precision,
    QuantizationRecord,
    Record,
    ResizedRecord,
    RunRecord,
    Size,
    SubnetWidths,
    TemperatureRecord,
)
from noah.errors import ArtifactError
from noah.files.atomic import atomic_file
from noah.runs.export_command import export_again, where_artifacts_are
from noah.version import __version__

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
ENGINE_FILE = "model.engine"
CARD_FILE = "model_card.md"
PROGRAM_FILE = "predict.py"
"""Predicts with the model without noah; in artifacts of earlier versions there is none."""
REQUIREMENTS_FILE = "requirements.txt"
FORMAT_VERSION: Final = 1
"""The newest manifest layout that this version of noah writes and reads."""

_RESPELLED = {"quantisation": "quantization", "normalised": "normalized"}


class Manifest(Record):
    """The content of `manifest.json`, in the order of the file.

    Attributes:
        format: The kind of artifact, a name in `export.formats.registry`.
        dataset: Name of the dataset that the classes come from.
        classes: Labels in the order of the outputs.
        preprocessing: The result of `noah.data.pixels.preprocessing.Preprocessing.to_json`.
        decoding: The result of `noah.data.decoding.Decoding.to_json`, which says how the run read its image files; None
            in artifacts of earlier versions, which read them as they are stored.
        parameters: Number of trainable parameters in the subnet's modules.
        precision: Number format found in the file: fp32, fp16, bf16, int8 or int8-dynamic.
        opset: Operator set of the ONNX file; None if there is no such file.
        types: How many of each type were found in the file, by operator or by "input", "output" and "weights".
        quantization: What was written in 8 bits, for precision int8 or int8-dynamic.
        resized: The accuracy that the input size costs, if it is not the size of the search.
        temperature: What logits are divided by before they become probabilities; None for nothing.
        parity: The comparisons that the artifact passed, at least one.
        engine: Describes the engine, if there is one.
        execution: What the network is computed in by a library that chooses that itself, as OpenVINO does.
        choice: How it was chosen as the fastest on a machine, if it was; other fields tell of the artifact itself.
        files: Every file of the artifact that a program reads, by its name in the folder; not the model card, which
            people may edit.
        versions: Versions of the packages that wrote the artifact.
    """

    format: Name = "onnx"
    format_version: Literal[1] = FORMAT_VERSION
    created_by: Name = f"noah {__version__}"
    run: RunRecord
    dataset: Name
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    preprocessing: dict[str, JsonValue]
    decoding: dict[str, JsonValue] | None = None
    subnet: SubnetWidths
    parameters: Count
    backbone: BackboneRecord
    input: ModelInput
    output: ModelOutput
    precision: Precision
    types: dict[str, dict[str, Count]]
    opset: Size | None = None
    quantization: QuantizationRecord | None = None
    resized: ResizedRecord | None = None
    temperature: TemperatureRecord | None = None
    parity: Annotated[tuple[Parity, ...], Field(min_length=1)]
    engine: EngineRecord | None = None
    execution: ExecutionRecord | None = None
    choice: ChoiceRecord | None = None
    files: Annotated[dict[str, FileRecord], Field(min_length=1)]
    versions: dict[str, str]

    @property
    def softmax_temperature(self) -> float:
        """What logits are divided by before they become probabilities; 1 for an artifact without temperature."""
        return 1.0 if self.temperature is None else self.temperature.value

    @property
    def file_hashes(self) -> dict[str, str]:
        """SHA-256 by name of each file that the outputs come from, which tells artifacts of the same name apart."""
        beside = (PROGRAM_FILE, REQUIREMENTS_FILE)
        return {name: record.sha256 for name, record in self.files.items() if name not in beside}

    @model_validator(mode="after")
    def _classes_are_outputs(self) -> Self:
        if len(self.output.shape) != 2 or self.output.shape[1] != len(self.classes):
            raise ValueError(f"output.shape {self.output.shape} is not (batch, {len(self.classes)}), one per class")
        return self

    @model_validator(mode="after")
    def _opset_is_told(self) -> Self:
        if self.opset is None and any(name.endswith(".onnx") for name in self.files):
            raise ValueError(f"format {self.format} needs opset for its ONNX file")
        return self

    @model_validator(mode="after")
    def _engines_are_described(self) -> Self:
        if self.engine is None and any(name.endswith((".engine", ".plan")) for name in self.files):
            raise ValueError(f"format {self.format} needs engine to describe its engine")
        return self

    @model_validator(mode="after")
    def _quantization_is_described(self) -> Self:
        quantized = self.precision.startswith("int8")
        if quantized != (self.quantization is not None):
            raise ValueError(f"precision {self.precision} {'needs' if quantized else 'has no'} quantization")
        return self


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of an artifact.

    Args:
        path: The folder of the artifact, or its `manifest.json`.

    Raises:
        ArtifactError: If it is missing, not JSON, from a newer noah, or has wrong keys, all of which are named.
    """
    path = path / MANIFEST_FILE if path.is_dir() else path
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        hint = where_artifacts_are(path.parent)
        raise ArtifactError(f"No artifact here: {path} does not exist.", hint) from None
    except OSError as error:
        raise ArtifactError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        content = from_json(text)
    except ValueError as error:
        raise ArtifactError(f"{path} is not JSON: {error}.", export_again(path.parent)) from error
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} is JSON, but not a manifest.", export_again(path.parent))
    _refuse_newer(content, path)
    try:
        respelled = _respelled(content)
        return Manifest.model_validate_json(text if respelled == content else to_json(respelled), strict=True)
    except ValidationError as error:
        problems = "; ".join(map(_one_problem, error.errors(include_url=False)))
        problem = f"{path} is not a manifest that this noah reads: {problems}."
        raise ArtifactError(problem, export_again(path.parent)) from error


def write_manifest(manifest: Manifest, folder: Path) -> Path:
    """Write `manifest.json` into an existing folder, completely or not at all, and give its path."""
    path = folder / MANIFEST_FILE
    with atomic_file(path) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8", newline="\n")
    return path


def file_record(path: Path) -> FileRecord:
    """Compute size and SHA-256 of a file, reading it once in constant memory."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRecord(sha256=digest, bytes=file.tell())


def file_records(folder: Path) -> dict[str, FileRecord]:
    """Describe every file below a folder, by its path from there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): file_record(path) for path in files}


def check_files(manifest: Manifest, folder: Path) -> None:
    """Compare every file that the manifest names with its recorded size and SHA-256.

    Raises:
        ArtifactError: If a file is missing or differs, or its name leads out of the folder.
    """
    for name, expected in manifest.files.items():
        if _leaves_folder(name):
            problem = f"The manifest in {folder} names the file {name!r}, outside its folder."
            raise ArtifactError(problem, export_again(folder))
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"The artifact in {folder} lacks its file {name}.", export_again(folder))
        try:
            found = file_record(path)
        except OSError as error:
            raise ArtifactError(f"Cannot read {path}: {error.strerror}.") from error
        if found != expected:
            what = "SHA-256" if found.bytes == expected.bytes else f"size ({found.bytes:,} bytes)"
            problem = f"{path} was changed or damaged: its {what} is not the manifest's."
            raise ArtifactError(problem, export_again(folder))


def _refuse_newer(content: dict[str, object], path: Path) -> None:
    """Refuse a newer layout as such, instead of listing its new keys as unknown."""
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format_version {version}, written by {content.get('created_by', 'a newer noah')}; "
            f"noah {__version__} reads up to {FORMAT_VERSION}.",
            "Update noah: pip install --upgrade noah-prompt-search",
        )


def _respelled(content: dict[str, Any]) -> dict[str, Any]:
    """Rename the key and the value that earlier versions spelled differently."""
    if "quantization" not in content:
        content = {_RESPELLED.get(key, key): value for key, value in content.items()}
    described = content.get("input")
    if isinstance(described, dict) and described.get("values") in _RESPELLED:
        return {**content, "input": {**described, "values": _RESPELLED[described["values"]]}}
    return content


def _one_problem(error: ErrorDetails) -> str:
    """Format a problem as `parity.batches.0.batch: Field required`, without pydantic's prefix for our own errors."""
    place = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _leaves_folder(name: str) -> bool:
    """Whether a name, read as a POSIX or a Windows path, could lead out of the folder that holds it."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return posix.is_absolute() or bool(windows.anchor) or ".." in posix.parts or ".." in windows.parts
