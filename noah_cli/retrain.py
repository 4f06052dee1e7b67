"""`noah retrain`: trains the winner of a search on the full training split."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from noah.errors import UsageError
from noah.latest import DEFAULT_RUNS
from noah_cli import console
from noah_cli.options import (
    DeviceOption,
    PrecisionOption,
    RunOption,
    RunsOption,
    ThreadsOption,
    hardware_layers,
    run_options,
)


def retrain(
    run: RunOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was stopped.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Throw an earlier training away and begin anew.")] = False,
    inherit: Annotated[
        bool, typer.Option("--inherit", help="Start from the supernet's weights instead of fresh modules.")
    ] = False,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Train the winning subnet on training and validation images together; of a few-shot set on its shots alone."""
    from noah.checkpoint import CHECKPOINT_FILE
    from noah.materials import check_same_data, prepare
    from noah.runs import open_run
    from noah.settings import RetrainSettings
    from noah.stages import retrain as retrain_stage
    from noah.stages import winner

    listener = console.ConsoleListener()
    current = open_run(runs, run)
    winner(current)
    finished, checkpoint = current.path("retrain", "model.json"), current.path("retrain", CHECKPOINT_FILE)
    if finished.is_file() and not restart:
        listener.say(f"retrain   The winner of {current.name} is retrained already; --restart does it anew.")
        listener.say_next(f"noah eval{run_options(current.folder, runs)}")
        return
    if checkpoint.exists() and not (resume or restart):
        raise UsageError(
            f"The retraining of {current.name} was stopped before its end.",
            "Add --resume to go on with it, or --restart to begin anew.",
        )
    settings = current.settings(hardware_layers(device, precision, threads))
    if resume and current.path("retrain", "settings.json").is_file():
        started = RetrainSettings.model_validate(current.read_json("retrain", "settings.json"))
        if inherit and not started.inherit:
            raise UsageError("This retraining was started without --inherit.", "Leave it out, or add --restart.")
        settings = settings.model_copy(update={"retrain": started})
    elif inherit:
        settings = settings.model_copy(update={"retrain": settings.retrain.model_copy(update={"inherit": True})})
    listener.say(f"run       {current.folder}")
    materials = prepare(settings, listener)
    check_same_data(current, materials)
    try:
        with current.lock():
            if restart:
                finished.unlink(missing_ok=True)
                checkpoint.unlink(missing_ok=True)
                shutil.rmtree(current.path("eval"), ignore_errors=True)  # it measured the weights that are thrown away
            result = retrain_stage(current, materials, listener)
    except KeyboardInterrupt:
        again = "noah retrain --resume" + " --inherit" * inherit
        console.print_interrupted(f"{again}{run_options(current.folder, runs, always=True)}")
        raise typer.Exit(130) from None
    listener.say(
        f"retrained {result['parameters']:,} parameters and a head of {result['head_parameters']:,} on "
        f"{result['images']:,} images, final loss {result['losses'][-1]:.3f}"
    )
    listener.say_next(f"noah eval{run_options(current.folder, runs)}")
