"""Exports the retrained winner of a run: merge, write, check, compare, and only then give the artifact its name.

An artifact is a folder `export/<name>/` of the run, named after its format and precision, like onnx-fp32 or trt-fp16,
and after what differs from the defaults, like onnx-fp32-uint8 or trt-fp16-probabilities. Every format that is made from
the merged network begins as an ONNX file, the `Draft`; the format then finishes it: it proves it as it is, builds an
engine from it, converts it or puts a server's files around it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from export.artifact import metadata
from export.artifact.folder import new_artifact
from export.artifact.manifest import CARD_FILE, MODEL_FILE, Manifest, file_records, write_manifest
from export.artifact.metadata import CLASSES
from export.artifact.model_card import write_card
from export.artifact.origin import describe_origin
from export.artifact.records import (
    ModelInput,
    ModelOutput,
    Parity,
    Precision,
    QuantizationRecord,
    ResizedRecord,
)
from export.convert.image_input import AXES, check_resizes
from export.convert.int8 import quantize
from export.convert.onnx_files import check_valid
from export.convert.precision import DEFAULT_OPSETS, write_precision
from export.convert.to_onnx import least_opset, write_onnx
from export.convert.type_check import FoundTypes, check_types, read_types
from export.runtime.tensors import BATCH_AXIS, INPUT_NAME
from export.write.input_size import measure_resized
from export.write.proof import Evidence, gather_evidence
from export.write.request import Request
from export.write.standalone import prove_standalone, write_standalone
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.prepare.context import Materials, at_image_size
from noah.progress import Listener
from noah.runs.folder import Run, installed_versions
from noah.space.subnet import Subnet
from noah.stages.retrain_stage import load_retrained


@dataclass(frozen=True)
class Draft:
    """An artifact that is being written: so far, the merged network as a checked ONNX file.

    Attributes:
        folder: The folder, which holds `file`, and weights beyond 2 GiB beside it.
        file: The ONNX file, in the precision of the graph.
        run: The run.
        origin: Where the network comes from, as fields of its manifest.
        materials: Its dataset, and its backbone at the artifact's image size.
        model: The retrained supernet, on the CPU.
        subnet: The winner.
        listener: Prints each step.
        request: What was asked for.
        evidence: What the artifact's outputs are compared with.
        input: Describes the network's input.
        output: Describes its output.
        types: The types that were found in the ONNX file.
        opset: Its operator set.
        quantization: What is in 8 bits.
        resized: What the image size costs, if it is not that of the search.
    """

    folder: Path
    file: Path
    run: Run
    origin: Mapping[str, Any]
    materials: Materials
    model: Supernet
    subnet: Subnet
    listener: Listener
    request: Request
    evidence: Evidence
    input: ModelInput
    output: ModelOutput
    types: FoundTypes
    opset: int
    quantization: QuantizationRecord | None
    resized: ResizedRecord | None

    def describe(self, parity: tuple[Parity, ...], **other: Any) -> Manifest:
        """Make the manifest of the artifact as its folder is now.

        Args:
            parity: The comparisons that it passed.
            other: Fields of `Manifest` that the format adds or puts in place of those of the ONNX file.
        """
        fields: dict[str, Any] = {
            **self.origin,
            "format": self.request.format,
            "input": self.input,
            "output": self.output,
            "precision": self.request.precision,
            "types": self.types,
            "opset": self.opset,
            "quantization": self.quantization,
            "resized": self.resized,
            "parity": parity,
            "files": file_records(self.folder),
            "versions": installed_versions(),
        }
        return Manifest(**(fields | other))

    def with_program(self, manifest: Manifest) -> Manifest:
        """Write the program that runs the ONNX file without noah beside it, prove it, and add both to the manifest."""
        write_standalone(manifest, self.folder)
        threads = self.materials.settings.hardware.threads
        proved = prove_standalone(self.folder, manifest, self.materials.dataset.validation, self.listener, threads)
        return manifest.model_copy(update={"parity": (*manifest.parity, proved), "files": file_records(self.folder)})


def export_artifact(
    run: Run,
    materials: Materials,
    listener: Listener,
    request: Request,
    *,
    finish: Callable[[Draft], Manifest],
    form: str,
    usage: Callable[[Manifest, Path], str],
    graph: Precision | None = None,
) -> Path:
    """Write the retrained winner as an artifact, and check that it agrees with the torch model.

    Args:
        run: A run whose winner has been retrained.
        materials: Its dataset, and its backbone at the size of the search; parity is checked on validation images.
        listener: Prints each step.
        request: The format, precision and further choices.
        finish: Makes the artifact of the draft, proves it and describes it.
        form: How the subnet's modules are in the artifact, for its card.
        usage: How to run it, for its card.
        graph: Precision of the ONNX file, if it is not the one asked for, which the format then brings about itself.

    Returns:
        The artifact's folder. An earlier artifact of the same name is replaced, but only by one that passed its checks.

    Raises:
        CommandOrderError: If the winner has not been retrained.
        ExportError: If writing or a check of the file fails; names the check.
        ParityError: If the written model does not agree with the torch model.
        SettingsError: If the backbone's patches do not fill the input size asked for.
    """
    if request.input == "image":
        check_resizes(materials.backbone.preprocessing)
    materials, request, resized = _resize(run, materials, listener, request)
    model, subnet = load_retrained(run, materials)
    origin = describe_origin(run, materials, model, subnet)
    model.cpu()  # the reference of the parity check is computed there, whatever the run was trained on
    final = run.path("export", request.folder_name)
    with new_artifact(run, final.name, request.within) as building:
        draft = _draft(
            building, run, origin, materials, model, subnet, listener, request, resized, graph or request.precision
        )
        manifest = finish(draft)
        write_card(manifest, run, building / CARD_FILE, final, form=form, usage=usage(manifest, final))
        write_manifest(manifest, building)
    if request.within is not None:
        return building
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


def _draft(
    folder: Path,
    run: Run,
    origin: Mapping[str, Any],
    materials: Materials,
    model: Supernet,
    subnet: Subnet,
    listener: Listener,
    request: Request,
    resized: ResizedRecord | None,
    graph: Precision,
) -> Draft:
    """Write and check the ONNX file, and gather what its outputs are to be compared with."""
    backbone, classes = materials.backbone, materials.dataset.classes
    file, fitted = folder / MODEL_FILE, origin["temperature"]
    temperature = 1.0 if fitted is None else fitted.value
    opset = request.opset or max(DEFAULT_OPSETS[graph], least_opset(model))
    quantization = _write(file, materials, model, subnet, listener, request, graph, opset, temperature)
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
    check_types(types, graph, quantization.products if quantization else 0)
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
    model_input, model_output = _describe_ends(materials, request)
    return Draft(
        folder=folder,
        file=file,
        run=run,
        origin=origin,
        materials=materials,
        model=model,
        subnet=subnet,
        listener=listener,
        request=request,
        evidence=evidence,
        input=model_input,
        output=model_output,
        types=types,
        opset=opset,
        quantization=quantization,
        resized=resized,
    )


def _describe_ends(materials: Materials, request: Request) -> tuple[ModelInput, ModelOutput]:
    """Describe the input and output that were asked for."""
    height, width = materials.backbone.preprocessing.height, materials.backbone.preprocessing.width
    shape: tuple[int | str, ...] = (BATCH_AXIS, 3, height, width)
    model_input = ModelInput(name=INPUT_NAME, shape=shape, type="float32", layout="NCHW", values="normalized")
    if request.input == "uint8":
        shape = (BATCH_AXIS, height, width, 3)
        model_input = ModelInput(name=INPUT_NAME, shape=shape, type="uint8", layout="NHWC", values="raw")
    elif request.input == "image":
        shape = (BATCH_AXIS, *AXES, 3)
        model_input = ModelInput(name=INPUT_NAME, shape=shape, type="uint8", layout="NHWC", values="image")
    shape = (BATCH_AXIS, len(materials.dataset.classes))
    return model_input, ModelOutput(name=request.values, shape=shape, type="float32", values=request.values)


def _write(
    file: Path,
    materials: Materials,
    model: Supernet,
    subnet: Subnet,
    listener: Listener,
    request: Request,
    precision: Precision,
    opset: int,
    temperature: float,
) -> QuantizationRecord | None:
    """Write the ONNX file in the precision asked for; for 8 bits, return what was quantized."""
    preprocessing = materials.backbone.preprocessing
    listener.say("merging   the modules into the backbone")
    merged = merge(model, subnet, raw_pixels=(preprocessing.mean, preprocessing.std) if request.raw_pixels else None)
    listener.say(f"writing   {file.name}, {precision}, opset {opset}, batch axis free")

    def write(network: nn.Module, path: Path) -> None:
        write_onnx(
            network,
            path,
            height=preprocessing.height,
            width=preprocessing.width,
            raw_pixels=request.raw_pixels,
            probabilities=request.values == "probabilities",
            temperature=temperature,
            opset=opset,
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
