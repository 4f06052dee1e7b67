"""`noah export`: writes the retrained winner as files that run without torch, or that torch loads."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from export.formats import auto
from export.formats.registry import FORMATS
from export.runtime.profile import ONNX_PROFILE
from noah.files.latest import DEFAULT_RUNS
from noah.settings.option_layers import option_layers
from noah_cli.options.options import DeviceOption, MovedDataOption, RunOption, RunsOption, ThreadsOption
from noah_cli.terminal import console

if TYPE_CHECKING:
    FormatName = str
else:
    FormatName = Literal[(*FORMATS, auto.AUTO)]  # from which typer reads the choices

_FORMATS_HELP = "; ".join(f"{name}: {format_.help}" for name, format_ in FORMATS.items())
_OTHER_DEFAULTS = "".join(f", or {one.default} for {one.name}" for one in FORMATS.values() if one.default != "fp32")
_OTHER_PROFILES = "".join(
    f", or {one.profile} for {one.name}" for one in FORMATS.values() if one.profile != ONNX_PROFILE
)


def export(
    context: typer.Context,
    format: Annotated[  # noqa: A002  # the option's name
        FormatName,
        typer.Option("--format", help=f"{_FORMATS_HELP}; {auto.AUTO}: {auto.HELP}."),
    ] = "onnx",
    precision: Annotated[
        Literal["fp32", "fp16", "bf16", "int8", "int8-dynamic"] | None,
        typer.Option(
            "--precision",
            help=f"Number format; if not given, fp32{_OTHER_DEFAULTS}. int8 is calibrated on training images; "
            "int8-dynamic finds scales batch by batch, for CPUs.",
        ),
    ] = None,
    calibration: Annotated[
        Literal["minmax", "entropy", "percentile"] | None,
        typer.Option(
            help="How int8 finds the range of an activation; if not given, each is tried until little accuracy is "
            "lost, and the closest to float32 is taken."
        ),
    ] = None,
    calibration_images: Annotated[
        int | None,
        typer.Option(min=1, help="Number of training images to calibrate int8 on; if not given, 512.", metavar="N"),
    ] = None,
    exclude_last_block: Annotated[
        bool, typer.Option("--exclude-last-block", help="Keep the last block in float32, with int8 or int8-dynamic.")
    ] = False,
    no_smooth: Annotated[
        bool,
        typer.Option(
            "--no-smooth",
            help="With int8 or int8-dynamic, do not try to move outliers of activations into the weights, which "
            "changes nothing in float32 and brings 8 bits closer to it.",
        ),
    ] = False,
    no_mixed: Annotated[
        bool,
        typer.Option(
            "--no-mixed",
            help="With int8 or int8-dynamic, fail if too much accuracy is lost with all blocks in 8 bits, instead of "
            "leaving the blocks that lose most in float32.",
        ),
    ] = False,
    input: Annotated[  # noqa: A002  # the option's name
        Literal["float", "uint8", "image"] | None,
        typer.Option(
            "--input",
            help="float (the default): normalized NCHW; uint8: raw NHWC pixels, normalization folded in; image: "
            "decoded images of any size, NHWC, resizing inside, too.",
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
            help="Smallest, usual and largest batch of the engine and of the parity check; if not given, "
            f"{ONNX_PROFILE}{_OTHER_PROFILES}. All but engines take any batch. With --format auto, the one batch size "
            f"to be fast at; if not given, {auto.BATCHES['latency']}, or {auto.BATCHES['throughput']} for throughput.",
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
        int | None,
        typer.Option(
            help="ONNX operator set, 18 or more; if not given, 20, 22 for bf16, or 23 for a backbone with RMS norms.",
            metavar="N",
        ),
    ] = None,
    for_: Annotated[
        Literal["latency", "throughput"] | None,
        typer.Option(
            "--for",
            help="What --format auto is to be fast for: the latency of single images, or the throughput of batches; if "
            f"not given, {auto.PURPOSE}.",
        ),
    ] = None,
    lose_at_most: Annotated[
        float | None,
        typer.Option(
            "--lose-at-most",
            min=0,
            max=100,
            help="Percentage points of accuracy on held-out images that --format auto may lose against the network in "
            f"float32; if not given, {auto.LOSE_AT_MOST:g}. 8 bits are never allowed more than their own check allows.",
            metavar="POINTS",
        ),
    ] = None,
    run: RunOption = None,
    data: MovedDataOption = None,
    device: DeviceOption = None,
    threads: ThreadsOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Merge the retrained winner into a plain network, write it, and check that its outputs are the same."""
    from noah.api.exporting import export_run, plan_export

    wanted = plan_export(
        format,
        precision=precision,
        calibration=calibration,
        calibration_images=calibration_images,
        exclude_last_block=exclude_last_block,
        smooth=not no_smooth,
        mixed=not no_mixed,
        input=input,
        input_size=input_size,
        output=output,
        batch=batch,
        target=target,
        opset=opset,
        for_=for_,
        lose_at_most=lose_at_most,
    )
    from export.artifact.manifest import read_manifest
    from export.formats.runnable import first_here, runnables
    from noah.runs.folder import open_run
    from noah_cli.terminal.choice_table import print_choice

    listener = console.open_listener(context)
    own = option_layers(device=device, precision="fp32", threads=threads)
    folder = export_run(open_run(runs, run), wanted, listener, own, data=data)
    manifest = read_manifest(folder)
    if manifest.choice is not None:
        print_choice(listener, manifest.choice)
    size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    listener.say(f"written   {folder}, {size / 2**20:.1f} MiB")
    listener.result({"artifact": str(folder), "bytes": size, "manifest": manifest.model_dump(mode="json")})
    if next_step := FORMATS[manifest.format].next_step:
        listener.say_next(next_step(folder))
        return
    if all(parity.method == "simulated" for parity in manifest.parity):
        by_openvino = manifest.format == "onnx"
        listener.say(f"          It needs a GPU to run{', or --provider openvino on a CPU' if by_openvino else ''}.")
    here = first_here(runnables(folder, manifest))  # of an artifact with an engine, perhaps just its ONNX file
    listener.say_next(f"noah predict {shlex.quote(str(here.path if here else folder))} IMAGES... --out predictions.csv")
