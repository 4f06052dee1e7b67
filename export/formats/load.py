"""Opens an artifact of any format that noah runs, after checking its files, its labels and its model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from export.artifact.manifest import MANIFEST_FILE, Manifest, check_files, read_manifest
from export.artifact.metadata import CLASSES, label_difference
from export.artifact.records import ModelInput, ModelOutput
from export.formats.format import Opening
from export.formats.registry import format_of, model_files
from export.formats.runnable import model_name
from export.predict.predictor import Predictor
from export.runtime.tensors import OpenModel, TensorSpec
from noah.data.decoding import AS_STORED, Decoding
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ArtifactError
from noah.files.bounded import parse_json
from noah.runs.export_command import export_again, export_beside, where_artifacts_are


def load_predictor(
    artifact: Path, *, provider: str | None = None, threads: int | None = None, embeddings: bool = False
) -> Predictor:
    """Open an artifact after comparing its files with the manifest.

    Args:
        artifact: The folder that holds `manifest.json`, or one of the models in it. If the artifact has an engine, the
            folder stands for that.
        provider: "tensorrt", "cuda", "cpu" or another provider of onnxruntime; None takes the first that runs here.
        threads: Threads for one operator on the CPU; None takes what `noah.hardware.cores` chooses.
        embeddings: Whether it is also to give embeddings, which only ONNX files do.

    Raises:
        ArtifactError: If files are missing or damaged, or the model does not match its manifest or does not run here.
        MissingPackageError: If an engine's package is not installed.
        UsageError: If there is no such provider, `threads` is below 1, or a provider or embeddings are asked of an
            engine.
    """
    manifest, file = read_artifact(artifact)
    folder, format_ = artifact_folder(artifact), format_of(manifest)
    preprocessing = Preprocessing.from_json(manifest.preprocessing)
    decoding = _stored_decoding(manifest)
    model = model_files()[file].open(folder / file, manifest, Opening(provider, threads, embeddings))
    problems = _disagreements(manifest, preprocessing, model)
    if problems:
        raise ArtifactError(
            f"{folder / file} is not the model of its manifest: {'; '.join(problems)}.", export_again(folder)
        )
    name = model_name(folder.resolve().name, file, format_)
    return Predictor(folder, file, manifest, preprocessing, decoding, model, name=name)


def read_artifact(artifact: Path) -> tuple[Manifest, str]:
    """Compare an artifact's files with its manifest, and give that and the name of the model to open; opens nothing.

    Args:
        artifact: As for `load_predictor`.

    Raises:
        ArtifactError: If files are missing or damaged, or noah does not run this format.
    """
    folder = artifact_folder(artifact)
    manifest = read_manifest(folder / MANIFEST_FILE)
    format_ = format_of(manifest)
    if not format_.models:
        how = f"Run it with: {format_.next_step(folder)}. " if format_.next_step else ""
        raise ArtifactError(
            f"{folder} is of format {manifest.format}, which noah itself does not run.",
            f"{how}For noah's commands: {export_beside(folder, '--format onnx')}",
        )
    file = artifact.name if artifact.name in model_files() else format_.models[0].name
    if file not in {model.name for model in format_.models} or file not in manifest.files:
        raise ArtifactError(f"The manifest in {folder} names no {file}.", export_again(folder))
    check_files(manifest, folder)
    return manifest, file


def open_again(predictor: Predictor, threads: int | None = None) -> OpenModel:
    """Open the model of a predictor another time, on what runs it there."""
    model = model_files()[predictor.file.name]
    provider = predictor.provider if model.takes_provider else None
    return model.open(predictor.file, predictor.manifest, Opening(provider, threads))


def _stored_decoding(manifest: Manifest) -> Decoding:
    try:
        return AS_STORED if manifest.decoding is None else Decoding.from_json(manifest.decoding)
    except ValueError as error:
        raise ArtifactError(
            f"The decoding stored in the artifact is wrong: {error}.", "Export the artifact again."
        ) from error


def artifact_folder(artifact: Path) -> Path:
    """The folder of an artifact, given that or one of the models in it.

    Raises:
        ArtifactError: If it is neither.
    """
    if artifact.is_dir():
        return artifact
    if not artifact.exists():
        raise ArtifactError(f"No artifact here: {artifact} does not exist.", where_artifacts_are(artifact))
    if artifact.name not in (*model_files(), MANIFEST_FILE):
        raise ArtifactError(
            f"{artifact} is not an artifact.",
            f"Name the folder that holds {MANIFEST_FILE}, or a model in it: {', '.join(model_files())}.",
        )
    return artifact.parent


def _disagreements(manifest: Manifest, preprocessing: Preprocessing, model: OpenModel) -> list[str]:
    """List where the manifest, its preprocessing and the model itself contradict one another."""
    problems = _tensor_disagreements("input", manifest.input, model.inputs)
    problems += _tensor_disagreements("output", manifest.output, model.outputs)
    if CLASSES in model.metadata:
        problems += _other_labels(model.metadata[CLASSES], manifest.classes)
    size = (preprocessing.height, preprocessing.width)
    if any(
        isinstance(told, int) and told != needed for told, needed in zip(manifest.input.image_size, size, strict=True)
    ):
        problems.append(f"the input takes images of {manifest.input.image_size}, but preprocessing makes {size}")
    if isinstance(manifest.input.shape[0], int):
        problems.append(f"the input's batch is fixed to {manifest.input.shape[0]}, but any number of images must fit")
    return problems


def _other_labels(note: str, classes: tuple[str, ...]) -> list[str]:
    """List where the labels in the file itself differ from the manifest's."""
    try:
        found = parse_json(note)
    except ValueError as error:
        return [f"its list of labels is damaged: {error}"]
    if not isinstance(found, list):
        return ["its labels are not a list"]
    difference = label_difference(found, classes)
    return [f"its labels differ: {difference}"] if difference else []


def _tensor_disagreements(kind: str, told: ModelInput | ModelOutput, found: Sequence[TensorSpec]) -> list[str]:
    """Compare the input or output in the manifest with those that the model has."""
    if [tensor.name for tensor in found] != [told.name]:
        names = ", ".join(tensor.name for tensor in found)
        return [f"its {kind} is {names!r}, not {told.name!r}"]
    problems = []
    if found[0].type != told.type:
        problems.append(f"{kind} {told.name!r} is {found[0].type}, not {told.type}")
    if _fixed_sizes(found[0].shape) != _fixed_sizes(told.shape):
        problems.append(f"{kind} {told.name!r} is {list(found[0].shape)}, not {list(told.shape)}")
    return problems


def _fixed_sizes(shape: Sequence[int | str | None]) -> list[int | None]:
    """Give the sizes, with None for every free one, whatever its name."""
    return [size if isinstance(size, int) else None for size in shape]
