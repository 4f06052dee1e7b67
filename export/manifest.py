"""`manifest.json`: what an artefact is, in enough detail to run it without asking anyone.

The manifest lies beside the files that it describes and carries their SHA-256. It is read without torch.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError, model_validator
from pydantic_core import ErrorDetails, from_json

from noah.atomic import atomic_file
from noah.errors import ArtefactError
from noah.version import __version__

MANIFEST_FILE = "manifest.json"
MODEL_FILE = "model.onnx"
FORMAT_VERSION: Final = 1
"""The newest manifest layout that this version of noah writes and reads."""

_EXPORT_AGAIN = "Export it again: noah export"

Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(min_length=1)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Shape = Annotated[tuple[Size | Name, ...], Field(min_length=1)]
"""Whole numbers are fixed sizes, names are sizes that the caller chooses, as in ("batch", 3, 224, 224)."""


class _Record(BaseModel):
    """Unchangeable, and complete: an unknown key is an error, NaN and infinity are no measurements."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SubnetWidths(_Record):
    """The widths of the subnet that was merged, one per block."""

    prompt: tuple[Count, ...]
    lora: tuple[Count, ...]
    adapter: tuple[Count, ...]


class BackboneRecord(_Record):
    """The frozen network that the subnet was searched on; `image_size` is (height, width) in pixels."""

    name: Name
    arch: Name
    image_size: tuple[Size, Size]


class ModelInput(_Record):
    """The one input: float32 NCHW of normalised values, or uint8 NHWC of raw pixels."""

    name: Name
    shape: Shape
    type: Literal["float32", "uint8"]
    layout: Literal["NCHW", "NHWC"]
    values: Literal["normalised", "raw"]

    @model_validator(mode="after")
    def _is_one_of_two_kinds(self) -> Self:
        kind = (self.type, self.layout, self.values)
        if kind not in {("float32", "NCHW", "normalised"), ("uint8", "NHWC", "raw")}:
            raise ValueError(f"{' '.join(kind)} is neither float32 NCHW normalised nor uint8 NHWC raw")
        if len(self.shape) != 4:
            raise ValueError(f"shape has {len(self.shape)} sizes and {self.layout} needs 4")
        return self

    @property
    def image_size(self) -> tuple[int | str, int | str]:
        """(height, width) in pixels."""
        height, width = self.shape[2:] if self.layout == "NCHW" else self.shape[1:3]
        return height, width


class ModelOutput(_Record):
    """The one output, (batch, classes)."""

    name: Name
    shape: Shape
    type: Literal["float32", "float16"]
    values: Literal["logits", "probabilities"]


class ParityBatch(_Record):
    """How far the artefact was from its reference on one batch size.

    Attributes:
        batch: Number of images in the batch.
        max_relative: Largest relative difference of the outputs.
        max_absolute: Largest absolute difference of the outputs.
        top1_agreement: Share of the images with the same first class, 0 to 1.
    """

    batch: Size
    max_relative: Annotated[float, Field(ge=0)]
    max_absolute: Annotated[float, Field(ge=0)]
    top1_agreement: Annotated[float, Field(ge=0, le=1)]


class Parity(_Record):
    """The comparison with the model that the artefact was made from; `tolerance` bounds `max_relative`."""

    reference: Name
    images: Name
    batches: tuple[ParityBatch, ...]
    tolerance: Annotated[float, Field(ge=0)]


class RunRecord(_Record):
    """Where the artefact comes from.

    Attributes:
        name: The run, as `noah --run` takes it.
        data: SHA-256 of the names and labels of its training and validation images.
        weights: SHA-256 of the checkpoint that was exported.
    """

    name: Name
    data: Sha256
    weights: Sha256


class FileRecord(_Record):
    """What a file of the artefact has to be: its SHA-256 in hexadecimal and its size in bytes."""

    sha256: Sha256
    bytes: Count


class Manifest(_Record):
    """The content of `manifest.json`, in the order of the file.

    Attributes:
        dataset: Name of the data set that the classes come from.
        classes: Labels in the order of the outputs.
        preprocessing: What `noah.data.preprocessing.Preprocessing.to_json` gave.
        parameters: Trainable parameters of the subnet's modules.
        precision: Number format found in the file: fp32, fp16, bf16 or int8.
        files: Every other file of the artefact, by its name in the folder.
        versions: Versions of the packages that wrote the artefact.
    """

    format: Literal["onnx"] = "onnx"
    format_version: Literal[1] = FORMAT_VERSION
    created_by: Name = f"noah {__version__}"
    run: RunRecord
    dataset: Name
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    preprocessing: dict[str, JsonValue]
    subnet: SubnetWidths
    parameters: Count
    backbone: BackboneRecord
    input: ModelInput
    output: ModelOutput
    precision: Name
    opset: Size
    parity: Parity
    files: Annotated[dict[str, FileRecord], Field(min_length=1)]
    versions: dict[str, str]

    @model_validator(mode="after")
    def _classes_are_outputs(self) -> Self:
        if len(self.output.shape) != 2 or self.output.shape[1] != len(self.classes):
            raise ValueError(f"output.shape {self.output.shape} is not (batch, {len(self.classes)}), one per class")
        return self


def read_manifest(path: Path) -> Manifest:
    """Read the manifest of an artefact.

    Args:
        path: The folder of the artefact, or its `manifest.json`.

    Raises:
        ArtefactError: It is missing, not JSON, of a newer noah, or has wrong keys, all of which are named.
    """
    path = path / MANIFEST_FILE if path.is_dir() else path
    try:
        text = path.read_bytes()
    except FileNotFoundError:
        raise ArtefactError(f"No artefact here: {path} does not exist.", "Write one: noah export") from None
    except OSError as error:
        raise ArtefactError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        content = from_json(text)
    except ValueError as error:
        raise ArtefactError(f"{path} is not JSON: {error}.", _EXPORT_AGAIN) from error
    if not isinstance(content, dict):
        raise ArtefactError(f"{path} is JSON, but not a manifest.", _EXPORT_AGAIN)
    _refuse_newer(content, path)
    try:
        return Manifest.model_validate_json(text, strict=True)
    except ValidationError as error:
        problems = "; ".join(map(_one_problem, error.errors(include_url=False)))
        raise ArtefactError(f"{path} is not a manifest that this noah reads: {problems}.", _EXPORT_AGAIN) from error


def write_manifest(manifest: Manifest, folder: Path) -> Path:
    """Write `manifest.json` into an existing folder, whole or not at all, and give its path."""
    path = folder / MANIFEST_FILE
    with atomic_file(path) as temporary:
        temporary.write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8", newline="\n")
    return path


def file_record(path: Path) -> FileRecord:
    """Measure a file of an artefact; reads it once, in constant memory."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return FileRecord(sha256=digest, bytes=file.tell())


def check_files(manifest: Manifest, folder: Path) -> None:
    """Compare every file that the manifest names with its recorded size and SHA-256.

    Raises:
        ArtefactError: A file is missing or differs, or its name leads out of the folder.
    """
    for name, expected in manifest.files.items():
        if _leaves_folder(name):
            raise ArtefactError(f"The manifest in {folder} names the file {name!r}, outside its folder.", _EXPORT_AGAIN)
        path = folder / name
        if not path.is_file():
            raise ArtefactError(f"The artefact in {folder} lacks its file {name}.", _EXPORT_AGAIN)
        try:
            found = file_record(path)
        except OSError as error:
            raise ArtefactError(f"Cannot read {path}: {error.strerror}.") from error
        if found != expected:
            what = "SHA-256" if found.bytes == expected.bytes else f"size ({found.bytes:,} bytes)"
            raise ArtefactError(f"{path} was changed or damaged: its {what} is not the manifest's.", _EXPORT_AGAIN)


def _refuse_newer(content: dict[str, object], path: Path) -> None:
    """A newer layout has keys of its own; say that it is newer instead of listing them as unknown."""
    version = content.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ArtefactError(
            f"{path} has format_version {version}, written by {content.get('created_by', 'a newer noah')}; "
            f"noah {__version__} reads up to {FORMAT_VERSION}.",
            "Update noah: pip install --upgrade noah-prompt-search",
        )


def _one_problem(error: ErrorDetails) -> str:
    """`parity.batches.0.batch: Field required`, without pydantic's own prefix for errors raised here."""
    place = ".".join(map(str, error["loc"]))
    message = error["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def _leaves_folder(name: str) -> bool:
    """Whether a name, read as a path of either system, could lead out of the folder that holds it."""
    posix, windows = PurePosixPath(name), PureWindowsPath(name)
    return posix.is_absolute() or bool(windows.anchor) or ".." in posix.parts or ".." in windows.parts
