"""Exports the retrained winner of a run: merge, write, check, prove, and only then give the artefact its name.

An artefact is a folder `export/<name>/` of the run, named after its format and precision, as onnx-fp32 or trt-fp16, and
after what differs from the defaults, as onnx-fp32-uint8 or trt-fp16-probabilities. It holds `model.onnx`,
`manifest.json` and `model_card.md`; one of format trt holds `model.engine` too, beside the ONNX file that it was built
from, so that it can be built anew for another GPU and run where there is none.
"""

from __future__ import annotations

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from export import metadata
from export.found_types import check_types, read_types
from export.labels import CLASSES
from export.manifest import CARD_FILE, ENGINE_FILE, MODEL_FILE, Manifest, file_record, write_manifest
from export.model_card import write_card
from export.onnx_files import check_valid
from export.precision import DEFAULT_OPSETS, write_precision
from export.profile import ONNX_PROFILE, Profile
from export.prove import Evidence, gather_evidence, prove_engine, prove_onnx
from export.records import (
    NOT_VERIFIED,
    BackboneRecord,
    EngineRecord,
    ModelInput,
    ModelOutput,
    Parity,
    Precision,
    RunRecord,
    SubnetWidths,
)
from export.tensorrt_package import Builder
from export.to_onnx import BATCH_AXIS, INPUT_NAME, write_onnx
from noah.checkpoint import CHECKPOINT_FILE
from noah.errors import ExportError
from noah.materials import Materials, fingerprint
from noah.merge import merge
from noah.progress import Listener
from noah.runs import Run, installed_versions
from noah.stages import load_retrained
from noah.subnet import Subnet
from noah.supernet import Supernet


@dataclass(frozen=True)
class Request:
    """What to export.

    Attributes:
        precision: Of products and most else; norms and softmax stay in float32, inputs and outputs are never lower.
        raw_pixels: Take raw uint8 pixels (B, H, W, 3) instead of normalised float32 (B, 3, H, W).
        values: What the outputs are.
        opset: ONNX operator set; None takes the one of the precision.
        profile: Batch sizes of the proof, and of an engine.
        builder: Build an engine too, with this; None writes ONNX alone.
        name: Folder name under export/; None makes one.
    """

    precision: Precision = "fp32"
    raw_pixels: bool = False
    values: Literal["logits", "probabilities"] = "logits"
    opset: int | None = None
    profile: Profile = ONNX_PROFILE
    builder: Builder | None = None
    name: str | None = None

    @property
    def folder_name(self) -> str:
        """As onnx-fp32, trt-fp16-uint8 or onnx-bf16-probabilities."""
        parts = ["trt" if self.builder else "onnx", self.precision]
        parts += ["uint8"] * self.raw_pixels + ["probabilities"] * (self.values == "probabilities")
        return self.name or "-".join(parts)

    @property
    def opset_used(self) -> int:
        """The operator set that the file gets."""
        return self.opset or DEFAULT_OPSETS[self.precision]


def export_artefact(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    """Write the retrained winner as an artefact, with its proof.

    Args:
        run: The run.
        materials: Its data set and backbone; images of the validation split prove the parity.
        listener: Told each step.
        request: What to write.

    Returns:
        The artefact's folder. An earlier artefact of the same name is replaced, but only by one that passed its checks.

    Raises:
        CommandOrderError: If the winner has not been retrained.
        ExportError: If writing fails or a check of the file does; names the check.
        ParityError: If the written model does not agree with the torch one.
    """
    model, subnet = load_retrained(run, materials)
    model.cpu()  # the reference of the proof is computed there, whatever the run was trained on
    final = run.path("export", request.folder_name)
    building = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    building.mkdir(parents=True)
    try:
        manifest = _build(building, run, materials, model, subnet, listener, request)
        write_card(manifest, run, building / CARD_FILE, final)
        write_manifest(manifest, building)
        _replace(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    run.log(
        "export", "finished", name=final.name, parity=[parity.model_dump(mode="json") for parity in manifest.parity]
    )
    return final


def origin(run: Run, materials: Materials) -> RunRecord:
    """The run, its data and the weights that `noah retrain` left last."""
    weights = file_record(run.path("retrain", CHECKPOINT_FILE)).sha256
    return RunRecord(name=run.name, data=fingerprint(materials.dataset), weights=weights)


def _build(
    folder: Path,
    run: Run,
    materials: Materials,
    model: Supernet,
    subnet: Subnet,
    listener: Listener,
    request: Request,
) -> Manifest:
    """Write and prove the files of the artefact, and describe them."""
    backbone, classes = materials.backbone, materials.dataset.classes
    file = folder / MODEL_FILE
    _write(file, materials, model, subnet, listener, request)
    notes = {
        CLASSES: classes,
        metadata.PREPROCESSING: backbone.preprocessing.to_json(),
        metadata.SUBNET: subnet.to_json(),
        metadata.OUTPUT: request.values,
        metadata.PRECISION: request.precision,
        metadata.ORIGIN: f"noah, run {run.name}",
    }
    metadata.write_metadata(file, notes)
    check_valid(file)
    types = read_types(file)
    check_types(types, request.precision)
    metadata.check_labels(file, classes)
    evidence = gather_evidence(
        materials,
        model,
        subnet,
        raw_pixels=request.raw_pixels,
        precision=request.precision,
        values=request.values,
        profile=request.profile,
    )
    parity = prove_onnx(file, evidence, listener)
    engine = None
    if request.builder is not None:
        engine, proved = _build_engine(folder, run, request.builder, evidence, listener)
        parity += proved
    height, width = backbone.preprocessing.height, backbone.preprocessing.width
    return Manifest(
        format="trt" if engine else "onnx",
        run=origin(run, materials),
        dataset=materials.dataset.name,
        classes=classes,
        preprocessing=backbone.preprocessing.to_json(),
        subnet=SubnetWidths(prompt=subnet.prompt, lora=subnet.lora, adapter=subnet.adapter),
        parameters=subnet.parameter_count(model.embed_dim),
        backbone=BackboneRecord(name=backbone.name, arch=backbone.architecture, image_size=backbone.image_size),
        input=ModelInput(
            name=INPUT_NAME, shape=(BATCH_AXIS, height, width, 3), type="uint8", layout="NHWC", values="raw"
        )
        if request.raw_pixels
        else ModelInput(
            name=INPUT_NAME, shape=(BATCH_AXIS, 3, height, width), type="float32", layout="NCHW", values="normalised"
        ),
        output=ModelOutput(
            name=request.values, shape=(BATCH_AXIS, len(classes)), type="float32", values=request.values
        ),
        precision=request.precision,
        types=types,
        opset=request.opset_used,
        parity=parity,
        engine=engine,
        files={path.name: file_record(path) for path in sorted(folder.iterdir())},
        versions=installed_versions(),
    )


def _write(
    file: Path, materials: Materials, model: Supernet, subnet: Subnet, listener: Listener, request: Request
) -> None:
    """Write the ONNX file in the precision asked for."""
    preprocessing = materials.backbone.preprocessing
    listener.say("merging   LoRA, adapters and prompts into the backbone")
    merged = merge(model, subnet, raw_pixels=(preprocessing.mean, preprocessing.std) if request.raw_pixels else None)
    listener.say(f"writing   {file.name}, {request.precision}, opset {request.opset_used}, batch axis free")
    write_onnx(
        merged,
        file,
        height=preprocessing.height,
        width=preprocessing.width,
        raw_pixels=request.raw_pixels,
        probabilities=request.values == "probabilities",
        opset=request.opset_used,
    )
    write_precision(file, request.precision)


def _build_engine(
    folder: Path, run: Run, builder: Builder, evidence: Evidence, listener: Listener
) -> tuple[EngineRecord, tuple[Parity, ...]]:
    """Build the engine, and run it where a GPU is that can."""
    from export.engine import open_engine, why_not_run
    from export.to_tensorrt import build_engine

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


def _replace(building: Path, final: Path) -> None:
    """Give the finished folder its name; an older one of that name goes only now."""
    old = building.with_suffix(".old")
    try:
        if final.exists():
            final.rename(old)
        building.rename(final)
    except OSError as error:
        raise ExportError(f"The artefact cannot be moved to {final}: {error.strerror}.", "Check the folder.") from error
    finally:
        if old.exists():
            if not final.exists():
                old.rename(final)
            else:
                shutil.rmtree(old, ignore_errors=True)
