"""`noah eval`: measures the retrained winner on the test split or another dataset, or an artifact on the test split."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS
from noah.settings.option_layers import option_layers
from noah_cli.options.options import (
    DATA,
    AllowCopiesOption,
    DeviceOption,
    MovedDataOption,
    PrecisionOption,
    RunOption,
    RunsOption,
    ThreadsOption,
    run_options,
)
from noah_cli.terminal import console

_WORST = 3


def evaluate(
    context: typer.Context,
    artifact: Annotated[
        Path | None,
        typer.Argument(help="An exported artifact; if not given, the retrained winner itself.", metavar="ARTIFACT"),
    ] = None,
    run: RunOption = None,
    on: Annotated[
        str | None,
        typer.Option(
            "--on",
            help="Measure on another dataset with all or some of the same classes: imagenet-a, imagenet-r, "
            "imagenet-sketch, imagenetv2, another name, or a folder.",
            metavar="NAME",
        ),
    ] = None,
    data: MovedDataOption = None,
    allow_copies: AllowCopiesOption = False,
    damaged: Annotated[
        Literal["stop", "skip"] | None,
        typer.Option(
            "--damaged",
            help="Test images that cannot be decoded: stop, or skip, which leaves out up to 10 % of all. If not given, "
            "as the run was started, and up to 1 % if nothing was said then. A JPEG without its end is repaired if the "
            "run repairs its own.",
            rich_help_panel=DATA,
        ),
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Measure again, even if there is a result.")] = False,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Measure accuracy on the test split, which only `noah datasets check` and `noah verify` open besides."""
    if artifact and on is not None:
        raise UsageError("--on measures the retrained winner, not an artifact.", "Leave out one of them.")
    from noah.api.evaluating import evaluate_exported, evaluate_run, evaluation_layers, open_tested
    from noah.runs.folder import open_run

    listener = console.open_listener(context)
    own = option_layers(device=device, precision=precision, threads=threads)
    if artifact:
        predictor, home = open_tested(artifact, device=device, precision=precision, threads=threads)
        current = open_run(runs, home if run is None else run)
        own += evaluation_layers(current, allow_copies=allow_copies, damaged=damaged)
        measured = evaluate_exported(current, predictor, listener, own, again=again, data=data)
    else:
        current = open_run(runs, run)
        own += evaluation_layers(current, allow_copies=allow_copies, damaged=damaged)
        measured = evaluate_run(current, listener, own, on=on, again=again, data=data)
    _print_result(listener, measured.result, measured.what)
    if measured.is_new and not artifact and on is None:
        listener.say_next(f"noah export --format onnx{run_options(current.folder, runs, always=run is not None)}")
    listener.result({"run": str(current.folder), **measured.result})


def _print_result(listener: console.ConsoleListener, result: dict[str, Any], what: str) -> None:
    listener.say(
        f"test      {result['accuracy']:.2%} ± {result['standard_error']:.2%} of {result['total']:,} images right by "
        f"{what}"
    )
    if lost := result.get("left_out"):
        listener.say(
            f"          not measured: {len(lost['images']):,} of {lost['of']:,} test images, which cannot be read"
        )
    if "top5_accuracy" in result:
        listener.say(f"          top-5 {result['top5_accuracy']:.2%}")
    listener.say(
        f"          cross-entropy {result['cross_entropy']:.4f}, calibration error {result['calibration_error']:.1%}"
    )
    if "calibrated" in result:
        after = result["calibrated"]
        listener.say(
            f"          at temperature {after['temperature']:.3g}: cross-entropy {after['cross_entropy']:.4f}, "
            f"calibration error {after['calibration_error']:.1%}"
        )
    if "earlier" in result:
        earlier = result["earlier"]
        listener.say(
            f"          of the {earlier['images']:,} images that {earlier['run']} was tested on, it had "
            f"{earlier['right_before']:,} right, and {earlier['right_after']:,} are right now"
            if earlier["images"]
            else f"          none of the images that {earlier['run']} was tested on is known here"
        )
    measured = {name: value for name, value in result["class_accuracy"].items() if value is not None}
    worst = sorted(measured, key=measured.__getitem__)[:_WORST]
    listener.say("          hardest classes: " + ", ".join(f"{name} {measured[name]:.1%}" for name in worst))
