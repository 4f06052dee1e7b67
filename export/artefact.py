"""Exports the retrained winner of a run: merge, write, check, prove, and only then give the artefact its name."""

from __future__ import annotations

import secrets
import shutil
from pathlib import Path

import numpy as np

from export.manifest import (
    MODEL_FILE,
    BackboneRecord,
    Manifest,
    ModelInput,
    ModelOutput,
    Parity,
    RunRecord,
    SubnetWidths,
    file_record,
    write_manifest,
)
from export.onnx_session import CPU, open_session
from export.parity import Logits, Pixels, batch_sizes, measure_parity, torch_logits
from export.to_onnx import BATCH_AXIS, INPUT_NAME, OUTPUT_NAME, write_onnx
from noah.checkpoint import CHECKPOINT_FILE
from noah.errors import ExportError
from noah.materials import Materials, fingerprint
from noah.merge import merge
from noah.progress import Listener
from noah.runs import Run, installed_versions
from noah.stages import load_retrained
from noah.subnet import Subnet
from noah.supernet import Supernet

LARGE_BATCH = 32
"""Largest batch of the parity check; there may be fewer images."""


def export_onnx(
    run: Run, materials: Materials, listener: Listener, *, raw_pixels: bool, opset: int, name: str | None = None
) -> Path:
    """Write the retrained winner as an ONNX artefact in float32, with its proof.

    Args:
        run: The run.
        materials: Its data set and backbone; images of the validation split prove the parity.
        listener: Told each step.
        raw_pixels: Take raw uint8 pixels (B, H, W, 3) instead of normalised float32 (B, 3, H, W).
        opset: ONNX operator set.
        name: Folder name under export/; "onnx-fp32" or "onnx-fp32-uint8" where it is None.

    Returns:
        The artefact's folder. An earlier artefact of the same name is replaced, but only by one that passed its checks.

    Raises:
        CommandOrderError: If the winner has not been retrained.
        ExportError: If writing fails.
        ParityError: If the written model does not agree with the torch one.
    """
    model, subnet = load_retrained(run, materials)
    model.cpu()
    final = run.path("export", name or ("onnx-fp32-uint8" if raw_pixels else "onnx-fp32"))
    building = final.with_name(f".{final.name}.{secrets.token_hex(4)}.tmp")
    building.mkdir(parents=True)
    try:
        manifest = _build(building, run, materials, model, subnet, listener, raw_pixels=raw_pixels, opset=opset)
        write_manifest(manifest, building)
        _replace(building, final)
    finally:
        shutil.rmtree(building, ignore_errors=True)
    run.log("export", "finished", name=final.name, parity=manifest.parity.model_dump(mode="json"))
    return final


def _build(
    folder: Path,
    run: Run,
    materials: Materials,
    model: Supernet,
    subnet: Subnet,
    listener: Listener,
    *,
    raw_pixels: bool,
    opset: int,
) -> Manifest:
    preprocessing = materials.backbone.preprocessing
    height, width = preprocessing.height, preprocessing.width
    listener.say("merging   LoRA, adapters and prompts into the backbone")
    merged = merge(model, subnet, raw_pixels=(preprocessing.mean, preprocessing.std) if raw_pixels else None)
    listener.say(f"writing   {MODEL_FILE}, opset {opset}, batch axis free")
    write_onnx(merged, folder / MODEL_FILE, height=height, width=width, raw_pixels=raw_pixels, opset=opset)
    parity = _prove(folder / MODEL_FILE, materials, model, subnet, listener, raw_pixels=raw_pixels)
    classes = materials.dataset.classes
    backbone = materials.backbone
    return Manifest(
        run=origin(run, materials),
        dataset=materials.dataset.name,
        classes=classes,
        preprocessing=preprocessing.to_json(),
        subnet=SubnetWidths(prompt=subnet.prompt, lora=subnet.lora, adapter=subnet.adapter),
        parameters=subnet.parameter_count(model.embed_dim),
        backbone=BackboneRecord(name=backbone.name, arch=backbone.architecture, image_size=backbone.image_size),
        input=ModelInput(
            name=INPUT_NAME, shape=(BATCH_AXIS, height, width, 3), type="uint8", layout="NHWC", values="raw"
        )
        if raw_pixels
        else ModelInput(
            name=INPUT_NAME, shape=(BATCH_AXIS, 3, height, width), type="float32", layout="NCHW", values="normalised"
        ),
        output=ModelOutput(name=OUTPUT_NAME, shape=(BATCH_AXIS, len(classes)), type="float32", values="logits"),
        precision="fp32",
        opset=opset,
        parity=parity,
        files={path.name: file_record(path) for path in sorted(folder.iterdir())},
        versions=installed_versions(),
    )


def origin(run: Run, materials: Materials) -> RunRecord:
    """The run, its data and the weights that `noah retrain` left last."""
    weights = file_record(run.path("retrain", CHECKPOINT_FILE)).sha256
    return RunRecord(name=run.name, data=fingerprint(materials.dataset), weights=weights)


def _prove(
    file: Path, materials: Materials, model: Supernet, subnet: Subnet, listener: Listener, *, raw_pixels: bool
) -> Parity:
    """Compare the written file with the unmerged torch subnet on validation images."""
    validation = materials.dataset.validation
    count = min(LARGE_BATCH, len(validation))
    preprocessing = materials.backbone.preprocessing
    # Spread over the split, so that small batches too hold different classes.
    chosen = np.linspace(0, len(validation) - 1, count).round().astype(int)
    pixels: Pixels = np.stack([preprocessing.pixels(validation.open(int(index))) for index in chosen])
    session = open_session(file, provider=CPU).session

    def artefact(batch: Pixels) -> Logits:
        values = batch if raw_pixels else preprocessing.normalise(batch)
        logits: Logits = session.run([OUTPUT_NAME], {INPUT_NAME: values})[0]
        return logits

    parity = measure_parity(
        artefact,
        lambda batch: torch_logits(lambda images: model(images, subnet), preprocessing.normalise(batch)),
        pixels,
        images=f"{count} validation images of {materials.dataset.name}",
        reference_name="the unmerged torch subnet, float32, CPU",
        precision="fp32",
        batches=batch_sizes(count, LARGE_BATCH),
    )
    for batch in parity.batches:
        listener.say(
            f"checking  batch {batch.batch:>2}: largest difference {batch.max_relative:.1e} of the largest logit "
            f"(allowed {parity.tolerance:.0e}), top-1 agreement {batch.top1_agreement:.0%}"
        )
    return parity


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
