"""`noah export`: writes the retrained winner as files that run without torch, or that torch loads."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS
from noah_cli.options.option_layers import hardware_layers
from noah_cli.options.options import DeviceOption, RunOption, RunsOption, ThreadsOption
from noah_cli.terminal import console

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from export.artifact.records import Int8Calibration, Precision
    from export.convert.int8_options import Int8Options


def export(
    context: typer.Context,
    format: Annotated[  # noqa: A002  # the option's name
        Literal["onnx", "trt", "triton", "safetensors", "timm"],
        typer.Option(
            "--format",
            help="onnx: for onnxruntime; trt: also a TensorRT engine, built without a GPU; triton: a model repository "
            "for Triton Inference Server; safetensors: just modules and head, for noah.load in Python; timm: a plain "
            "timm model, for subnets that fold into the backbone, such as LoRA alone.",
        ),
    ] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8", "int8-dynamic"] | None,
        typer.Option(
            "--precision",
            help="Number format; if not given, fp32 for onnx and fp16 for trt. int8 is calibrated on training images; "
            "int8-dynamic finds scales batch by batch, for CPUs.",
        ),
    ] = None,
    calibration: Annotated[
        Literal["minmax", "entropy", "percentile"] | None,
        typer.Option(help="How int8 finds the range of an activation; if not given, minmax."),
    ] = None,
    calibration_images: Annotated[
        int | None,
        typer.Option(min=1, help="Number of training images to calibrate int8 on; if not given, 512.", metavar="N"),
    ] = None,
    exclude_last_block: Annotated[
        bool, typer.Option("--exclude-last-block", help="Keep the last block in float32, with int8 or int8-dynamic.")
    ] = False,
    input: Annotated[  # noqa: A002  # the option's name
        Literal["float", "uint8"] | None,
        typer.Option(
            "--input", help="float (the default): normalized NCHW; uint8: raw NHWC pixels, normalization folded in."
        ),
    ] = None,
    input_size: Annotated[
        int | None,
        typer.Option(
            "--input-size",
            min=1,
            help="Side of the input in pixels; if not given, that of the search. The accuracy that another size costs "
            "is measured and printed.",
            metavar="N",
        ),
    ] = None,
    output: Annotated[
        Literal["logits", "probabilities"] | None,
        typer.Option("--output", help="logits (the default), or probabilities, with the softmax included."),
    ] = None,
    batch: Annotated[
        str | None,
        typer.Option(
            help="Smallest, usual and largest batch of the engine and of the parity check; if not given, 1:32:256 for "
            "trt and 1:2:32 for onnx, which takes any batch.",
            metavar="MIN:OPT:MAX",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="GPUs to build a trt engine for ahead of time, such as sm89,sm120; if not given, a portable set.",
            metavar="LIST",
        ),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="ONNX operator set, 18 or more; if not given, 20, or 22 for bf16.", metavar="N")
    ] = None,
    run: RunOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Merge the retrained winner into a plain network, write it, and check that its outputs are the same."""
    from export.convert.precision import DEFAULT_OPSETS, OLDEST_OPSETS
    from export.runtime.profile import ENGINE_PROFILE, ONNX_PROFILE, parse_profile
    from export.runtime.tensorrt_package import choose_builder, choose_served, parse_targets, why_not_served

    if format == "safetensors" or format == "timm":
        given = {
            "--precision": precision,
            "--calibration": calibration,
            "--calibration-images": calibration_images,
            "--exclude-last-block": exclude_last_block or None,
            "--input": input,
            "--input-size": input_size,
            "--output": output,
            "--batch": batch,
            "--opset": opset,
        }
        _refuse(format, [name for name, value in given.items() if value is not None])
    chosen = precision or ("fp16" if format == "trt" else "fp32")
    if opset is not None and opset < OLDEST_OPSETS[chosen]:
        raise UsageError(
            f"--opset {opset} is too old{' for bf16' if chosen == 'bf16' else ''}.",
            f"Use --opset {DEFAULT_OPSETS[chosen]}, or at least {OLDEST_OPSETS[chosen]}.",
        )
    if target is not None and format != "trt":
        raise UsageError("--target is for engines.", "Add --format trt, or leave it out.")
    int8 = _int8_options(chosen, calibration, calibration_images, exclude_last_block)
    profile = parse_profile(batch) if batch else ENGINE_PROFILE if format == "trt" else ONNX_PROFILE
    builder = None
    if format == "trt":
        builder = choose_builder(chosen, None if target is None else parse_targets(target))
    elif format == "triton":
        builder = choose_served(chosen)

    from export.artifact.manifest import MODEL_FILE, how_to_load, read_manifest
    from export.artifact.records import NOT_VERIFIED
    from export.write.onnx_artifact import Request, export_artifact
    from noah.prepare.context import check_same_data, prepare
    from noah.runs.folder import open_run
    from noah.runs.run_subnet import chosen_subnet

    listener = console.open_listener(context)
    current = open_run(runs, run)
    chosen_subnet(current)
    listener.say(f"run       {current.folder}")
    if precision is None and format == "trt":
        listener.say("precision fp16 (all targets support it; half the size of fp32, and closer to it than bf16)")
    materials = prepare(current.settings(hardware_layers(device, "fp32", threads)), listener, run=current)
    check_same_data(current, materials)
    if format == "safetensors" or format == "timm":
        from export.write.torch_artifact import export_for_torch

        folder = export_for_torch(current, materials, listener, format)
    else:
        if format == "triton":
            listener.say(f"serves    {'the engine' if builder else f'the ONNX file ({why_not_served(chosen)})'}")
        request = Request(
            chosen,
            int8,
            input == "uint8",
            output or "logits",
            opset,
            profile,
            builder,
            triton=format == "triton",
            input_size=input_size,
        )
        folder = export_artifact(current, materials, listener, request)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    listener.say(f"written   {folder}, {size / 2**20:.1f} MiB")
    manifest = read_manifest(folder)
    listener.result({"artifact": str(folder), "bytes": size, "manifest": manifest.model_dump(mode="json")})
    if format not in ("onnx", "trt"):
        listener.say_next(how_to_load(format, folder))
        return
    artifact = folder
    if all(parity.method == "simulated" for parity in manifest.parity):
        listener.say("          It needs a GPU to run.")
    elif manifest.engine and manifest.engine.verified.startswith(NOT_VERIFIED):
        artifact = folder / MODEL_FILE  # the engine does not run here; its ONNX file does
    listener.say_next(f"noah predict {shlex.quote(str(artifact))} IMAGES... --out predictions.csv")


def _refuse(format_: str, given: list[str]) -> None:
    """Refuse options that only apply to ONNX files and engines if the format is for torch."""
    if given:
        raise UsageError(
            f"{given[0]} has no effect with --format {format_}: for torch, this is chosen when the network is used.",
            f"Leave out {' and '.join(given)}.",
        )


def _int8_options(
    precision: Precision, calibration: Int8Calibration | None, images: int | None, exclude_last_block: bool
) -> Int8Options:
    """Collect the options of quantization, and refuse those that the precision does not use."""
    from export.convert.int8_options import DEFAULT_CALIBRATION, DEFAULT_IMAGES, Int8Options

    if precision != "int8" and (calibration is not None or images is not None):
        name = "--calibration" if calibration is not None else "--calibration-images"
        raise UsageError(f"{name} is for --precision int8, not {precision}.", "Leave it out, or add --precision int8.")
    if exclude_last_block and precision not in ("int8", "int8-dynamic"):
        raise UsageError(
            f"--exclude-last-block is for --precision int8 and int8-dynamic, not {precision}.", "Leave it out."
        )
    return Int8Options(calibration or DEFAULT_CALIBRATION, images or DEFAULT_IMAGES, exclude_last_block)
