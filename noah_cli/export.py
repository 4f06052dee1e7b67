"""`noah export`: the retrained winner as files that run without torch."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

import typer

from noah.latest import DEFAULT_RUNS
from noah_cli import console
from noah_cli.options import DeviceOption, RunOption, RunsOption, ThreadsOption, hardware_layers


def export(
    format: Annotated[  # noqa: A002  # the option's name
        Literal["onnx", "trt"],
        typer.Option("--format", help="onnx: for onnxruntime; trt: a TensorRT engine too, built without a GPU."),
    ] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "bf16"] | None,
        typer.Option("--precision", help="Of the artefact; fp32 for onnx and fp16 for trt if not given."),
    ] = None,
    input: Annotated[  # noqa: A002  # the option's name
        Literal["float", "uint8"],
        typer.Option("--input", help="float: normalised NCHW; uint8: raw NHWC pixels, normalisation folded in."),
    ] = "float",
    output: Annotated[
        Literal["logits", "probabilities"], typer.Option("--output", help="probabilities: softmax included.")
    ] = "logits",
    batch: Annotated[
        str | None,
        typer.Option(
            help="Smallest, usual and largest batch: of the engine, and of the proof; 1:32:256 for trt and 1:2:32 for "
            "onnx, whose batch is free, if not given.",
            metavar="MIN:OPT:MAX",
        ),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option(
            help="GPUs that a trt engine is built for ahead of time, such as sm89,sm120; a portable set if not given.",
            metavar="LIST",
        ),
    ] = None,
    opset: Annotated[
        int | None, typer.Option(help="ONNX operator set, 18 or more; 20, and 22 for bf16, if not given.", metavar="N")
    ] = None,
    run: RunOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Merge the retrained winner into a plain network, write it, and prove that it gives the same outputs."""
    from export.precision import DEFAULT_OPSETS, OLDEST_OPSETS
    from export.profile import ENGINE_PROFILE, ONNX_PROFILE, parse_profile
    from export.tensorrt_package import choose_builder, parse_targets
    from noah.errors import UsageError

    chosen = precision or ("fp16" if format == "trt" else "fp32")
    if opset is not None and opset < OLDEST_OPSETS[chosen]:
        raise UsageError(
            f"--opset {opset} is too old{' for bf16' if chosen == 'bf16' else ''}.",
            f"Use --opset {DEFAULT_OPSETS[chosen]}, or {OLDEST_OPSETS[chosen]} at the least.",
        )
    if target is not None and format != "trt":
        raise UsageError("--target is for engines.", "Add --format trt, or leave it out.")
    profile = parse_profile(batch) if batch else ENGINE_PROFILE if format == "trt" else ONNX_PROFILE
    builder = choose_builder(chosen, None if target is None else parse_targets(target)) if format == "trt" else None

    from export.artefact import Request, export_artefact
    from export.manifest import MODEL_FILE, read_manifest
    from export.records import NOT_VERIFIED
    from noah.materials import check_same_data, prepare
    from noah.run_subnet import chosen_subnet
    from noah.runs import open_run

    listener = console.ConsoleListener()
    current = open_run(runs, run)
    chosen_subnet(current)
    listener.say(f"run       {current.folder}")
    if precision is None and format == "trt":
        listener.say("precision fp16 (every target has it, it is half the size of fp32, and closer to it than bf16)")
    materials = prepare(current.settings(hardware_layers(device, "fp32", threads)), listener)
    check_same_data(current, materials)
    request = Request(chosen, input == "uint8", output, opset, profile, builder)
    folder = export_artefact(current, materials, listener, request)
    size = sum(file.stat().st_size for file in folder.iterdir())
    listener.say(f"written   {folder}, {size / 2**20:.1f} MiB")
    manifest = read_manifest(folder)
    artefact = folder
    if all(parity.method == "simulated" for parity in manifest.parity):
        listener.say("          It needs a GPU to run.")
    elif manifest.engine and manifest.engine.verified.startswith(NOT_VERIFIED):
        artefact = folder / MODEL_FILE  # the engine is no command to type here; its ONNX file is
    listener.say_next(f"noah predict {shlex.quote(str(artefact))} IMAGES... --out predictions.csv")
