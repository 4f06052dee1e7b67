"""Turns the draft of an artifact into OpenVINO's own files, and proves them as OpenVINO runs them."""

from __future__ import annotations

from pathlib import Path

from export.artifact.manifest import Manifest
from export.artifact.metadata import CLASSES, check_label_note
from export.artifact.records import ExecutionRecord
from export.convert.accuracy_loss import POINTS_ALLOWED, first_classes
from export.convert.image_input import take_images
from export.convert.int8 import what_to_try
from export.convert.to_openvino import check_computed, write_openvino
from export.runtime.openvino_model import OpenVinoModel, load_openvino, open_openvino
from export.write.image_input import check_pixels, gather_images, prove_images
from export.write.onnx_artifact import Draft
from export.write.proof import BEFORE_RESIZING
from noah.errors import ParityError
from noah.prepare.held_out import calibration_images, gate_images


def convert_draft(draft: Draft, file: Path) -> Manifest:
    """Convert the ONNX file, check labels, types, outputs and accuracy of what OpenVINO runs, and describe it.

    Args:
        draft: What was written so far; its ONNX file is removed.
        file: The file to write into its folder.

    Raises:
        ExportError: If it cannot be converted, or its labels or types are not those that were asked for.
        ParityError: If its outputs are not the model's, or 8 bits lose too much accuracy as they are run here.
    """
    listener, precision = draft.listener, draft.request.precision
    listener.say(f"convert   to {file.name}, by openvino {load_openvino().__version__}")
    with_images = draft.request.input == "image"
    types = write_openvino(draft.file, file, precision)
    opened, computed, runs_on = _open_checked(draft, file)
    before = f"{runs_on}, {BEFORE_RESIZING}" if with_images else runs_on
    parity = [draft.evidence.compare(opened, listener, method="run", runs_on=before)]
    correct = _check_accuracy(draft, opened)
    if with_images:
        evidence = gather_images(draft, opened)
        del opened  # it holds the files that are written again, which some systems then refuse
        take_images(draft.file, draft.materials.backbone.preprocessing)
        types = write_openvino(draft.file, file, precision)
        opened, computed, runs_on = _open_checked(draft, file)
        threads = draft.materials.settings.hardware.threads
        check_pixels(evidence, draft, lambda resizing: open_openvino(resizing, precision, threads=threads))
        parity.append(prove_images(evidence, draft, opened, runs_on=runs_on))
    for converted in draft.folder.glob(f"{draft.file.name}*"):  # weights beyond 2 GiB lie beside it
        converted.unlink()
    execution = ExecutionRecord(
        package="openvino",
        version=str(load_openvino().__version__),
        device=str(opened.compiled.get_property("EXECUTION_DEVICES")[0]),
        hint=str(opened.compiled.get_property("INFERENCE_PRECISION_HINT").to_string()),
        layers=computed,
        correct=correct,
    )
    return draft.describe(tuple(parity), types=types, opset=None, execution=execution)


def _open_checked(draft: Draft, file: Path) -> tuple[OpenVinoModel, dict[str, dict[str, int]], str]:
    """Open the files as they are now, check labels and types, and tell what runs them and in which types."""
    precision = draft.request.precision
    opened = open_openvino(file, precision, threads=draft.materials.settings.hardware.threads)
    check_label_note(opened.metadata.get(CLASSES, "[]"), draft.materials.dataset.classes)
    computed = opened.computed_types()
    told = check_computed(computed, precision, draft.quantization.products if draft.quantization else 0)
    draft.listener.say(f"compiled  {told} ({opened.reason})")
    return opened, computed, f"{opened.provider}, {told}"


def _check_accuracy(draft: Draft, model: OpenVinoModel) -> int | None:
    """Count the right answers on the images for gates, for 8 bits; None for other precisions."""
    record = draft.quantization
    if record is None:
        return None
    split, images = gate_images(draft.materials)
    pixels = draft.materials.pixels(split, "gate", draft.listener)
    found = first_classes(
        model, pixels, draft.materials, draft.listener, model.provider, raw_pixels=draft.request.raw_pixels
    )
    correct = int((found == pixels.labels).sum())
    draft.listener.say(f"accuracy  {correct / record.total:.2%} of {images} as OpenVINO runs it")
    if 100 * (record.correct_in_float32 - correct) > POINTS_ALLOWED * record.total:
        available = len(calibration_images(draft.materials))
        advice = what_to_try("int8", draft.request.int8, available, was_mixed=False, instead="bf16")
        raise ParityError(
            f"The exported model fails the accuracy check: as OpenVINO runs it, {correct:,} of {images} are right "
            f"instead of {record.correct_in_float32:,}, but only {POINTS_ALLOWED} points may be lost.",
            f"Nothing was written. Try {advice}.",
        )
    return correct
