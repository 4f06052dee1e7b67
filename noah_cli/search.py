"""`noah search`: supernet training, then evolutionary search."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import typer

from noah.errors import SettingsError, UsageError
from noah.latest import DEFAULT_RUNS
from noah.layers import Layer, assignment_layer, file_layer, recipe_layer
from noah_cli import console
from noah_cli.new_run import project_layers, resolve_new
from noah_cli.options import (
    BackboneArchOption,
    BackboneOption,
    ClassWeightsOption,
    ConfigOption,
    DataOption,
    DataRootOption,
    DatasetOption,
    DeviceOption,
    ImageSizeOption,
    ListSeedOption,
    PrecisionOption,
    RecipeOption,
    RunsOption,
    SeedOption,
    SetOption,
    ShotsOption,
    ThreadsOption,
    hardware_layers,
    option_layers,
    parse_budget,
    run_options,
    start_layers,
)


def search(
    dataset: DatasetOption = None,
    data: DataOption = None,
    backbone: BackboneOption = None,
    recipe: RecipeOption = None,
    budget: Annotated[str | None, typer.Option("--budget", help="params=0.64M, or none.", metavar="BUDGET")] = None,
    space: Annotated[
        str | None, typer.Option("--space", help="paper, wide, lora, adapter or prompt.", metavar="PRESET")
    ] = None,
    sampler: Annotated[
        Literal["evolution", "random", "published"] | None,
        typer.Option("--sampler", help="published: the search of the paper's code, as a baseline."),
    ] = None,
    racing: Annotated[
        Literal["exact", "paired", "off"] | None,
        typer.Option(
            "--racing",
            help="exact stops subnets that provably cannot win; paired, with a test, also those that look worse.",
        ),
    ] = None,
    seed: SeedOption = None,
    data_root: DataRootOption = None,
    shots: ShotsOption = None,
    list_seed: ListSeedOption = None,
    backbone_arch: BackboneArchOption = None,
    image_size: ImageSizeOption = None,
    class_weights: ClassWeightsOption = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    config: ConfigOption = None,
    assignments: SetOption = None,
    run: Annotated[
        str | None, typer.Option(help="Name of the new run, or with --resume the run to go on with.", metavar="RUN")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Train a supernet on a data set and search the best subnet inside a budget."""
    from noah.materials import check_same_data, prepare
    from noah.run_subnet import given_subnet
    from noah.runs import open_run
    from noah.stages import search as search_stage
    from noah.start import start_run

    listener = console.ConsoleListener()
    options = start_layers(
        dataset, data, data_root, shots, list_seed, backbone, backbone_arch, image_size, class_weights, seed
    )
    options += option_layers(
        space=("space.preset", space), sampler=("search.sampler", sampler), racing=("search.racing", racing)
    )
    hardware = hardware_layers(device, precision, threads)
    if budget is not None:
        options += [Layer(source="--budget", values={"budget": {"parameters": parse_budget(budget)}})]
    options += [assignment_layer(text) for text in assignments or []]
    if resume:
        current = open_run(runs, run)
        if given_subnet(current) is not None:
            raise UsageError(
                f"The subnet of {current.name} was given: there is nothing to search.",
                f"Train it: noah retrain --resume{run_options(current.folder, runs, always=True)}",
            )
        settings = current.settings(hardware)
        files = [file_layer(path) for path in config or []]
        if recipe:
            # Where the recipe was named at the start, this folder's settings came over it.
            files = [recipe_layer(recipe), *project_layers(listener), *files]
        again = f"Type: noah search --resume{run_options(current.folder, runs, always=True)}"
        _check_unchanged(settings, [*files, *options], current.name, again)
        materials = prepare(settings, listener, tell_data=True)
        check_same_data(current, materials)
    else:
        settings, origins = resolve_new(listener, recipe, config or [], options, hardware)
        current, materials = start_run(runs, settings, origins, listener, name=run)
    listener.say(f"run       {current.folder}")
    limit = settings.budget.parameters
    inside = f", {materials.space.size(limit):,} inside the budget of {limit:,} parameters" if limit else ""
    listener.say(f"space     {materials.space.size():,} subnets{inside}")
    if resume and current.path("search", "best.json").is_file():
        listener.say("resume    The search is finished; there is nothing left to do.")
        result = current.read_json("search", "best.json")
    else:
        try:
            with current.lock():
                result = search_stage(current, materials, listener)
        except KeyboardInterrupt:
            again = run_options(current.folder, runs, always=True)
            console.print_interrupted(f"noah search --resume{again}")
            raise typer.Exit(130) from None
    console.print_winner(listener, result)
    listener.say_next(f"noah retrain{run_options(current.folder, runs)}")


def _check_unchanged(settings: Any, layers: list[Any], run: str, hint: str) -> None:
    """Refuse options that contradict the run that is to go on."""
    from noah.layers import flatten, resolve

    values = settings.model_dump(mode="json")
    stored = dict(flatten(values))
    asked, origins = resolve([Layer(source="run.yaml", values=values), *layers])
    problems = [
        f"{key}: the run {run} was started with {stored[key]!r}, not {value!r} ({origins[key]})"
        for key, value in flatten(asked.model_dump(mode="json"))
        if stored[key] != value
    ]
    if problems:
        raise SettingsError(problems, hint)
