"""`noah export`: the retrained winner as files that run without torch."""

from __future__ import annotations

import shlex
from typing import Annotated, Literal

import typer

from noah.latest import DEFAULT_RUNS
from noah_cli import console
from noah_cli.options import DeviceOption, PrecisionOption, RunOption, RunsOption, ThreadsOption, hardware_layers


def export(
    format: Annotated[  # noqa: A002  # the option's name
        Literal["onnx"], typer.Option("--format", help="onnx: for onnxruntime.")
    ] = "onnx",
    input: Annotated[  # noqa: A002  # the option's name
        Literal["float", "uint8"],
        typer.Option("--input", help="float: normalised NCHW; uint8: raw NHWC pixels, normalisation folded in."),
    ] = "float",
    opset: Annotated[int, typer.Option(help="ONNX operator set, 18 or more.")] = 20,
    run: RunOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Merge the retrained winner into a plain network, write it, and prove that it gives the same outputs."""
    from export.artefact import export_onnx
    from export.to_onnx import OLDEST_OPSET
    from noah.errors import UsageError
    from noah.materials import check_same_data, prepare
    from noah.run_subnet import chosen_subnet
    from noah.runs import open_run

    if opset < OLDEST_OPSET:
        raise UsageError(f"--opset {opset} is too old.", f"Use --opset 20, or {OLDEST_OPSET} at the least.")
    listener = console.ConsoleListener()
    current = open_run(runs, run)
    chosen_subnet(current)
    listener.say(f"run       {current.folder}")
    materials = prepare(current.settings(hardware_layers(device, precision, threads)), listener)
    check_same_data(current, materials)
    folder = export_onnx(current, materials, listener, raw_pixels=input == "uint8", opset=opset)
    size = sum(file.stat().st_size for file in folder.iterdir())
    listener.say(f"written   {folder}, {size / 2**20:.1f} MiB")
    listener.say_next(f"noah predict {shlex.quote(str(folder))} IMAGES... --out predictions.csv")
