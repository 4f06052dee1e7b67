"""`noah retrain`: trains the winner of a search, or a given subnet, on training and validation images."""

from __future__ import annotations

import shutil
from typing import Annotated

import typer

from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS
from noah.hardware.processes import launched_processes
from noah.settings.layers import assignment_layer
from noah_cli.options.completion import complete_subnet
from noah_cli.options.new_run import tell_settings
from noah_cli.options.option_layers import hardware_layers, own_data_layers, start_layers, track_layers
from noah_cli.options.options import (
    AllowCopiesOption,
    AlphaOption,
    BackboneArchOption,
    BackboneArgOption,
    BackboneOption,
    BitDepthOption,
    ClassesOption,
    ClassWeightsOption,
    ColumnsOption,
    ConfigOption,
    DamagedOption,
    DataOption,
    DataRootOption,
    DatasetOption,
    DeviceOption,
    GroupsOption,
    ImageSizeOption,
    ListSeedOption,
    NearOption,
    PrecisionOption,
    RecipeOption,
    RunOption,
    RunsOption,
    SeedOption,
    SetOption,
    ShotsOption,
    ThreadsOption,
    TrackOption,
    run_options,
)
from noah_cli.terminal import console


def retrain(
    context: typer.Context,
    run: RunOption = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped training.")] = False,
    restart: Annotated[bool, typer.Option("--restart", help="Discard an earlier training and start again.")] = False,
    inherit: Annotated[
        bool, typer.Option("--inherit", help="Start from the supernet's weights instead of fresh modules.")
    ] = False,
    subnet: Annotated[
        str | None,
        typer.Option(
            "--subnet",
            help="Train this subnet in a new run, without a search: lora:8+adapter:4, lora_all:4, adapter_plus:8, "
            "bias, linear, published:cifar, FILE.json, or pareto:2 of a search with two objectives. The options from "
            "--name to --set describe the new run; if they name no dataset, it takes data and settings from --run, or "
            "from the latest run.",
            metavar="SUBNET",
            autocompletion=complete_subnet,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the new run, with --subnet.", metavar="NAME")
    ] = None,
    dataset: DatasetOption = None,
    data: DataOption = None,
    backbone: BackboneOption = None,
    recipe: RecipeOption = None,
    seed: SeedOption = None,
    data_root: DataRootOption = None,
    shots: ShotsOption = None,
    list_seed: ListSeedOption = None,
    backbone_arch: BackboneArchOption = None,
    backbone_arg: BackboneArgOption = None,
    image_size: ImageSizeOption = None,
    class_weights: ClassWeightsOption = None,
    columns: ColumnsOption = None,
    classes: ClassesOption = None,
    groups: GroupsOption = None,
    near: NearOption = False,
    allow_copies: AllowCopiesOption = False,
    damaged: DamagedOption = None,
    alpha: AlphaOption = None,
    bit_depth: BitDepthOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    track: TrackOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Train the winning subnet, or a given one, on training and validation images together.

    For a few-shot dataset, only the shots are used.
    """
    listener = console.open_listener(context)
    own = [*hardware_layers(device, precision, threads), *track_layers(track)]
    options = start_layers(
        dataset,
        data,
        data_root,
        shots,
        list_seed,
        backbone,
        backbone_arch,
        backbone_arg,
        image_size,
        class_weights,
        seed,
    )
    options += own_data_layers(
        columns, classes, damaged, alpha, bit_depth, groups=groups, near=near, allow_copies=allow_copies
    )
    if subnet is not None:
        options += [assignment_layer(text) for text in assignments or []]
    # Imported this late because it takes seconds, and typing mistakes should be reported at once.
    from noah.prepare.new_run import start_run
    from noah.runs.folder import open_run
    from noah.runs.run_subnet import FRONT
    from noah.runs.seals import FOLDER, RETRAIN, break_seal
    from noah.stages.retrain_stage import retrain as retrain_stage
    from noah.training.checkpoint import CHECKPOINT_FILE
    from noah_cli.commands.retrain_run import open_existing, refuse_new_run_options, settings_of_new
    from noah_cli.trackers.listener import tracked
    from noah_cli.trackers.open_tracker import check_usable

    if subnet is None:
        refuse_new_run_options(options, recipe=recipe, config=config, set=assignments, name=name)
        existing = open_existing(listener, runs, run, own, resume=resume, restart=restart, inherit=inherit)
        if existing is None:
            done = open_run(runs, run)
            listener.say_next(f"noah eval{run_options(done.folder, runs, always=run is not None)}")
            listener.result({"run": str(done.folder), **done.read_json("retrain", "model.json")})
            return
        current, materials = existing
    else:
        if resume or restart or inherit:
            word = "--resume" if resume else "--restart" if restart else "--inherit"
            raise UsageError(
                f"--subnet starts a new run, but {word} does not.",
                "Leave --subnet out to go on with a run: it keeps its subnet.",
            )
        settings, origins = launched_processes().of_first(
            lambda: settings_of_new(listener, runs, run, recipe, config or [], options, own)
        )
        tell_settings(listener, settings, origins)
        check_usable(settings.trackers)
        searched = open_run(runs, run) if subnet.startswith(FRONT) else None
        current, materials = start_run(runs, settings, origins, listener, name=name, subnet=subnet, searched=searched)
        listener.say(f"run       {current.folder}")
    try:
        with current.lock(), tracked(current, materials.settings.trackers, listener) as told:
            if restart and current.writes:
                break_seal(current, RETRAIN)
                shutil.rmtree(current.path(FOLDER, "eval"), ignore_errors=True)
                current.path("retrain", "model.json").unlink(missing_ok=True)
                current.path("retrain", CHECKPOINT_FILE).unlink(missing_ok=True)
                shutil.rmtree(current.path("eval"), ignore_errors=True)  # it measured the weights that are discarded
            result = retrain_stage(current, materials, told)
            told.conclude({"parameters": result["parameters"]})
    except KeyboardInterrupt:
        again = f"noah retrain --resume{' --inherit' if inherit else ''}"
        console.print_interrupted(f"{again}{run_options(current.folder, runs, always=True)}")
        raise typer.Exit(130) from None
    listener.say(
        f"retrained {result['parameters']:,} parameters and a head of {result['head_parameters']:,} on "
        f"{result['images']:,} images, final loss {result['losses'][-1]:.3f}"
    )
    chosen = run is not None and subnet is None  # otherwise it is a new run and thus the latest
    listener.say_next(f"noah eval{run_options(current.folder, runs, always=chosen)}")
    listener.result({"run": str(current.folder), **result})
