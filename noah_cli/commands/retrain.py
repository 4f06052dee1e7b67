"""`noah retrain`: trains the winner of a search, or a given subnet, on training and validation images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from noah.api.new_settings import settings_of_new
from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS
from noah.hardware.processes import launched_processes
from noah.settings.layers import Layer, assignment_layer
from noah.settings.option_layers import option_layers
from noah_cli.options.completion import complete_run, complete_subnet
from noah_cli.options.new_run import tell_settings
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
    from_run: Annotated[
        str | None,
        typer.Option(
            "--from",
            help="Go on from this run in a new one, with images that have grown: --data names them. It keeps the "
            "subnet and starts from its weights; the head gets fresh rows for new classes.",
            metavar="RUN",
            autocompletion=complete_run,
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the new run, with --subnet or --from.", metavar="NAME")
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

    For a few-shot dataset, only the shots are used. For an existing run, --data says where its images are now.
    """
    listener = console.open_listener(context)
    own = option_layers(device=device, precision=precision, threads=threads, track=track)
    options = option_layers(
        dataset=dataset,
        data=data,
        data_root=data_root,
        shots=shots,
        list_seed=list_seed,
        backbone=backbone,
        backbone_arch=backbone_arch,
        backbone_arg=backbone_arg,
        image_size=image_size,
        class_weights=class_weights,
        seed=seed,
        classes=classes,
        groups=groups,
        near=near or None,
        allow_copies=allow_copies or None,
        damaged=damaged,
        alpha=alpha,
        bit_depth=bit_depth,
        columns=columns,
    )
    if subnet is not None or from_run is not None:
        options += [assignment_layer(text) for text in assignments or []]
    if subnet is None and from_run is None:
        given = [layer for layer in options if layer.source != "--data"]
        _refuse_for_old_run(given, {"recipe": recipe, "config": config, "set": assignments, "name": name})
    # Imported this late because it takes seconds, and typing mistakes should be reported at once.
    from noah.api.retraining import begin_continued, begin_given, open_retraining, run_retraining
    from noah.prepare.continued_run import continued_settings
    from noah.runs.folder import open_run

    if from_run is not None:
        others = {"subnet": subnet, "run": run, "resume": resume, "restart": restart, "inherit": inherit}
        _refuse_beside_from({"recipe": recipe, "config": config, **others})
        earlier = open_run(runs, from_run)
        settings, origins = continued_settings(earlier, [*options, *own])
        tell_settings(listener, settings, origins)
        current, materials = begin_continued(listener, runs, earlier, name, settings, origins)
    elif subnet is None:
        current = open_run(runs, run)
        found = open_retraining(current, listener, own, resume=resume, restart=restart, inherit=inherit, data=data)
        if found is None:
            listener.say_next(f"noah eval{run_options(current.folder, runs, always=run is not None)}")
            listener.result({"run": str(current.folder), **current.read_json("retrain", "model.json")})
            return
        materials = found
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
        current, materials = begin_given(listener, runs, run, name, subnet, settings, origins)
    again = f"noah retrain --resume{' --inherit' if inherit else ''}"
    with console.interruptible(f"{again}{run_options(current.folder, runs, always=True)}"):
        result = run_retraining(current, materials, listener, restart=restart)
    listener.say(
        f"retrained {result['parameters']:,} parameters and a head of {result['head_parameters']:,} on "
        f"{result['images']:,} images, final loss {result['losses'][-1]:.3f}"
    )
    chosen = run is not None and subnet is None and from_run is None  # otherwise it is a new run and thus the latest
    listener.say_next(f"noah eval{run_options(current.folder, runs, always=chosen)}")
    listener.result({"run": str(current.folder), **result})


def _refuse_for_old_run(options: Sequence[Layer], others: Mapping[str, object]) -> None:
    """Refuse options that only apply to a new run if no subnet is given.

    Args:
        options: Layers of the options that were given.
        others: Further options by name; those that are not empty were given.

    Raises:
        UsageError: If there are any; names all of them.
    """
    given = [layer.source for layer in options] + [f"--{name}" for name, value in others.items() if value]
    if given:
        raise UsageError(
            f"{' and '.join(given)} cannot change a run that was searched already.",
            "Leave it out, or add --subnet to train a subnet in a new run.",
        )


def _refuse_beside_from(others: Mapping[str, object]) -> None:
    """Refuse options that are no settings beside --from; which settings may change is for `continued_settings` to say.

    Args:
        others: Options by name; those that are not empty were given.

    Raises:
        UsageError: If there are any; names all of them.
    """
    given = [f"--{name}" for name, value in others.items() if value]
    if given:
        raise UsageError(
            f"{' and '.join(given)} cannot stand beside --from, which keeps backbone, subnet and weights.",
            "Leave it out.",
        )
