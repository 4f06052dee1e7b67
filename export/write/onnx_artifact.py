"""Exports the retrained winner of a run: merge, write, check, compare, and only then give the artifact its name.

An artifact is a folder `export/<name>/` of the run, named after its format and precision, like onnx-fp32 or trt-fp16,
and after what differs from the defaults, like onnx-fp32-uint8 or trt-fp16-probabilities. It holds `model.onnx`,
`manifest.json`, `model_card.md`, and `predict.py` with its `requirements.txt`, which run the model without noah; one of
format trt also holds `model.engine`, beside the ONNX file that it was built from, which can be built again for another
GPU and also runs without one. One of format triton holds a model repository instead.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from torch import nn

from export.artifact import metadata
from export.artifact.folder import new_artifact
from export.artifact.manifest import CARD_FILE, ENGINE_FILE, MODEL_FILE, Manifest, file_record, write_manifest
from export.artifact.metadata import CLASSES
from export.artifact.model_card import write_card
from export.artifact.origin import describe_origin, temperature_of
from export.artifact.records import (
    NOT_VERIFIED,
    EngineRecord,
    FileRecord,
    ModelInput,
    ModelOutput,
    Parity,
    Precision,
    QuantizationRecord,
    ResizedRecord,
)
from export.convert.int8 import quantize
from export.convert.int8_options import DEFAULT_INT8, Int8Options
from export.convert.onnx_files import check_valid
from export.convert.precision import DEFAULT_OPSETS, write_precision
from export.convert.to_onnx import BATCH_AXIS, INPUT_NAME, write_onnx
from export.convert.to_triton import arrange_repository
from export.convert.type_check import check_types, read_types
from export.runtime.profile import ONNX_PROFILE, Profile
from export.runtime.tensorrt_package import Builder
from export.write.input_size import measure_resized
from export.write.proof import Evidence, gather_evidence, prove_engine, prove_onnx
from export.write.standalone import prove_standalone, write_standalone
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.prepare.context import Materials, at_image_size
from noah.progress import Listener
from noah.runs.folder import Run, installed_versions
from noah.space.subnet import Subnet
from noah.stages.retrain_stage import load_retrained


@dataclass(frozen=True)
class Request:
    """What to export.

    Attributes:
        precision: Of products and most else; norms and softmax stay in float32, and inputs and outputs are never lower.
        int8: How to quantize, if the precision is int8 or int8-dynamic.
        raw_pixels: Take raw uint8 pixels (B, H, W, 3) instead of normalized float32 (B, 3, H, W).
        values: Whether the outputs are logits or probabilities.
        opset: ONNX operator set; None takes the precision's default.
        profile: Batch sizes of the parity check, and of an engine.
        builder: Builds an engine as well; None writes only ONNX.
        triton: Arrange a model repository for Triton Inference Server around the engine or the ONNX file.
        input_size: Height and width of the images in pixels; None takes the size of the search.
        name: Folder name under export/; None makes one.
    """

    precision: Precision = "fp32"
    int8: Int8Options = DEFAULT_INT8
    raw_pixels: bool = False
    values: Literal["logits", "probabilities"] = "logits"
    opset: int | None = None
    profile: Profile = ONNX_PROFILE
    builder: Builder | None = None
    triton: bool = False
    input_size: int | None = None
    name: str | None = None

    @property
    def folder_name(self) -> str:
        """The folder's name, like onnx-fp32, trt-fp16-uint8, onnx-bf16-probabilities or onnx-fp32-112px."""
        parts = ["triton" if self.triton else "trt" if self.builder else "onnx", self.precision]
        if self.raw_pixels:
            parts.append("uint8")
        if self.values == "probabilities":
            parts.append("probabilities")
        if self.input_size is not None:
            parts.append(f"{self.input_size}px")
        return self.name or "-".join(parts)

    @property
    def opset_used(self) -> int:
        """The operator set of the file, which is the precision's default if none was asked for."""
        return self.opset or DEFAULT_OPSETS[self.precision]


def export_artifact(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    """Write the retrained winner as an artifact, and check that it agrees with the torch model.

    Args:
        run: A run whose winner has been retrained.
        materials: Its dataset, and its backbone at the size of the search; parity is checked on validation images.
        listener: Prints each step.
        request: The format, precision and further choices.

    Returns:
        The artifact's folder. An earlier artifact of the same name is replaced, but only by one that passed its checks.

    Raises:
        CommandOrderError: If the winner has not been retrained.
        ExportError: If writing or a check of the file fails; names the check.
        ParityError: If the written model does not agree with the torch model.
        SettingsError: If the backbone's patches do not fill the input size asked for.
    """
    materials, request, resized = _resize(run, materials, listener, request)
    model, subnet = load_retrained(run, materials)
    model.cpu()  # the reference of the parity check is computed there, whatever the run was trained on
    final = run.path("export", request.folder_name)
    with new_artifact(run, final.name) as building:
        manifest = _build(building, run, materials, model, subnet, listener, request, resized)
        write_card(manifest, run, building / CARD_FILE, final)
        write_manifest(manifest, building)
    run.log(
        "export", "finished", name=final.name, parity=[parity.model_dump(mode="json") for parity in manifest.parity]
    )
    return final


def _resize(
    run: Run, materials: Materials, listener: Listener, request: Request
) -> tuple[Materials, Request, ResizedRecord | None]:
    """Give the materials at the size asked for, and what that costs; nothing changes if it is the search's size."""
    if request.input_size is None:
        return materials, request, None
    resized = at_image_size(materials, request.input_size)
    if resized is materials:
        listener.say(f"input     {request.input_size} px, as in the search")
        return materials, replace(request, input_size=None), None
    return resized, request, measure_resized(run, materials, resized, listener)


def _build(
    folder: Path,
    run: Run,
    materials: Materials,
    model: Supernet,
    subnet: Subnet,
    listener: Listener,
    request: Request,
    resized: ResizedRecord | None,
) -> Manifest:
    """Write and check the files of the artifact, and describe them."""
    backbone, classes = materials.backbone, materials.dataset.classes
    file, fitted = folder / MODEL_FILE, temperature_of(run)
    temperature = 1.0 if fitted is None else fitted.value
    quantization = _write(file, materials, model, subnet, listener, request, temperature)
    notes = {
        CLASSES: classes,
        metadata.PREPROCESSING: backbone.preprocessing.to_json(),
        metadata.DECODING: materials.intake.decoding.to_json(),
        metadata.SUBNET: subnet.to_json(),
        metadata.OUTPUT: request.values,
        **({} if fitted is None else {metadata.TEMPERATURE: temperature}),
        metadata.PRECISION: request.precision,
        metadata.ORIGIN: f"noah, run {run.name}",
    }
    metadata.write_metadata(file, notes)
    check_valid(file)
    types = read_types(file)
    check_types(types, request.precision, quantization.products if quantization else 0)
    metadata.check_labels(file, classes)
    evidence = gather_evidence(
        materials,
        model,
        subnet,
        raw_pixels=request.raw_pixels,
        precision=request.precision,
        values=request.values,
        temperature=temperature,
        profile=request.profile,
    )
    parity = prove_onnx(file, evidence, listener)
    engine = None
    if request.builder is not None:
        engine, proved = _build_engine(folder, run, request.builder, evidence, listener)
        parity += proved
    model_input, model_output = _describe_ends(materials, request)
    if request.triton:
        arrange_repository(folder, materials.dataset.name, classes, model_input, model_output, request.profile)
    manifest = Manifest(
        format="triton" if request.triton else "trt" if engine else "onnx",
        **describe_origin(run, materials, model, subnet),
        input=model_input,
        output=model_output,
        precision=request.precision,
        types=types,
        opset=request.opset_used,
        quantization=quantization,
        resized=resized,
        parity=parity,
        engine=engine,
        files=_files(folder),
        versions=installed_versions(),
    )
    if request.triton:  # whose server takes requests, not files
        return manifest
    write_standalone(manifest, folder)
    parity += (prove_standalone(folder, manifest, materials.dataset.validation, listener),)
    return manifest.model_copy(update={"parity": parity, "files": _files(folder)})


def _files(folder: Path) -> dict[str, FileRecord]:
    """Describe every file below a folder."""
    return {
        path.relative_to(folder).as_posix(): file_record(path) for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _describe_ends(materials: Materials, request: Request) -> tuple[ModelInput, ModelOutput]:
    """Describe the input and output that were asked for."""
    height, width = materials.backbone.preprocessing.height, materials.backbone.preprocessing.width
    model_input = (
        ModelInput(name=INPUT_NAME, shape=(BATCH_AXIS, height, width, 3), type="uint8", layout="NHWC", values="raw")
        if request.raw_pixels
        else ModelInput(
            name=INPUT_NAME, shape=(BATCH_AXIS, 3, height, width), type="float32", layout="NCHW", values="normalized"
        )
    )
    shape = (BATCH_AXIS, len(materials.dataset.classes))
    return model_input, ModelOutput(name=request.values, shape=shape, type="float32", values=request.values)


def _write(
    file: Path,
    materials: Materials,
    model: Supernet,
    subnet: Subnet,
    listener: Listener,
    request: Request,
    temperature: float,
) -> QuantizationRecord | None:
    """Write the ONNX file in the precision asked for; for 8 bits, return what was quantized."""
    preprocessing, precision = materials.backbone.preprocessing, request.precision
    listener.say("merging   the modules into the backbone")
    merged = merge(model, subnet, raw_pixels=(preprocessing.mean, preprocessing.std) if request.raw_pixels else None)
    listener.say(f"writing   {file.name}, {precision}, opset {request.opset_used}, batch axis free")

    def write(network: nn.Module, path: Path) -> None:
        write_onnx(
            network,
            path,
            height=preprocessing.height,
            width=preprocessing.width,
            raw_pixels=request.raw_pixels,
            probabilities=request.values == "probabilities",
            temperature=temperature,
            opset=request.opset_used,
        )

    if precision == "int8" or precision == "int8-dynamic":
        return quantize(
            merged,
            write,
            file,
            precision,
            request.int8,
            materials,
            listener,
            raw_pixels=request.raw_pixels,
            symmetric=request.builder is not None,
        )
    write(merged, file)
    write_precision(file, precision)
    return None


def _build_engine(
    folder: Path, run: Run, builder: Builder, evidence: Evidence, listener: Listener
) -> tuple[EngineRecord, tuple[Parity, ...]]:
    """Build the engine, and run it if there is a GPU that can."""
    from export.convert.to_tensorrt import build_engine
    from export.runtime.engine import open_engine, why_not_run

    file = folder / ENGINE_FILE
    listener.say(f"builder   {builder.package} {builder.version} ({builder.reason})")
    listener.say(f"building  {file.name} for {', '.join(builder.targets)}, batches {evidence.profile}")
    cache = run.path("export", f"{builder.package}-{builder.version}-timing.cache")
    record = build_engine(folder / MODEL_FILE, file, builder, evidence.profile, evidence.precision, cache)
    listener.say(f"built     {file.name} in {record.build_seconds:.1f} s; timing cache: {record.timing_cache}")
    for warning in record.warnings:
        listener.say(f"          {builder.package} warns: {warning}")
    missing = why_not_run(record)
    if missing:
        listener.say(f"          The engine was {NOT_VERIFIED}: {missing}. Its ONNX file was checked.")
        return record.model_copy(update={"verified": f"{NOT_VERIFIED}: {missing}"}), ()
    parity = prove_engine(open_engine(file, record), evidence, listener)
    return record.model_copy(update={"verified": f"run by {parity.runs_on}"}), (parity,)
