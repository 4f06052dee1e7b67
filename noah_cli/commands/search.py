"""`noah search`: supernet training, then evolutionary search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from noah.api.new_settings import resolve_new
from noah.cluster.session import Cluster, connect
from noah.console.durations import parse_duration
from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS
from noah.hardware.processes import launched_processes
from noah.progress import Listener
from noah.settings.layers import Layer, assignment_layer
from noah.settings.option_layers import option_layers
from noah_cli.options.completion import complete_run, complete_space
from noah_cli.options.new_run import tell_settings
from noah_cli.options.options import (
    RUNS,
    SEARCH,
    AllowCopiesOption,
    AlphaOption,
    BackboneArchOption,
    BackboneArgOption,
    BackboneOption,
    BitDepthOption,
    BudgetOption,
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
    PlacementOption,
    PrecisionOption,
    RayOption,
    RecipeOption,
    RunsOption,
    SeedOption,
    SetOption,
    ShotsOption,
    ThreadsOption,
    TrackOption,
    WorkersOption,
    run_options,
)
from noah_cli.terminal import console

if TYPE_CHECKING:
    from noah.runs.folder import Run


def search(
    context: typer.Context,
    dataset: DatasetOption = None,
    data: DataOption = None,
    backbone: BackboneOption = None,
    recipe: RecipeOption = None,
    budget: BudgetOption = None,
    space: Annotated[
        str | None,
        typer.Option(
            "--space",
            help="Search space: paper, wide, lora, adapter or prompt; mixed: LoRA, adapters and biases; mergeable: "
            "every kind that folds into the backbone's weights; full: every kind.",
            metavar="PRESET",
            rich_help_panel=SEARCH,
            autocompletion=complete_space,
        ),
    ] = None,
    placement: PlacementOption = None,
    objective: Annotated[
        Literal["accuracy", "accuracy,params", "accuracy,macs", "accuracy,latency"] | None,
        typer.Option(
            "--objective", help="What to optimize; two objectives give a Pareto front.", rich_help_panel=SEARCH
        ),
    ] = None,
    sampler: Annotated[
        Literal["evolution", "nsga2", "tpe", "random", "published"] | None,
        typer.Option(
            "--sampler",
            help="How to propose subnets; published is the search of the paper's code, as a baseline.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    racing: Annotated[
        Literal["exact", "paired", "off"] | None,
        typer.Option(
            "--racing",
            help="When to give up a subnet early; exact: if it provably cannot win; paired: also if a test finds it "
            "worse.",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    rerank: Annotated[
        int | None,
        typer.Option(
            "--rerank",
            min=0,
            help="Train the best M subnets on their own, and choose the winner by the result.",
            metavar="M",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage",
            help="Database that holds the search, such as sqlite:///FILE; if not given, a file in the run folder. The "
            "URL is kept in run.yaml, so leave passwords to the database's own configuration. (In noah benchmark it is "
            "a folder.)",
            metavar="URL",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    time_limit: Annotated[
        str | None,
        typer.Option(
            "--time-limit",
            help="Stop in time to have a winner after this long, such as 90s, 20m or 2h.",
            metavar="TIME",
            rich_help_panel=SEARCH,
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Time a few steps and estimate how long everything would take; write nothing.",
            rich_help_panel=SEARCH,
        ),
    ] = False,
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
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    ray: RayOption = None,
    workers: WorkersOption = 1,
    config: ConfigOption = None,
    assignments: SetOption = None,
    track: TrackOption = None,
    run: Annotated[
        str | None,
        typer.Option(
            help="Name of the new run, or with --resume the run to go on with.",
            metavar="RUN",
            rich_help_panel=RUNS,
            autocompletion=complete_run,
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a stopped run.", rich_help_panel=RUNS)] = False,
    join: Annotated[
        str | None,
        typer.Option(
            "--join",
            help="Work on the search of this run together with the process that started it.",
            metavar="RUN",
            rich_help_panel=RUNS,
            autocompletion=complete_run,
        ),
    ] = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Train a supernet on a dataset, and search for the best subnet within a budget."""
    listener, processes = console.open_listener(context), launched_processes()
    own = option_layers(device=device, precision=precision, threads=threads, track=track)
    seconds = None if time_limit is None else parse_duration(time_limit)
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
        space=space,
        placement=placement,
        objective=objective,
        sampler=sampler,
        racing=racing,
        rerank=rerank,
        storage=storage,
        budget=budget,
    )
    options += [assignment_layer(text) for text in assignments or []]
    if join is not None and processes.count > 1:
        raise UsageError(
            "--join makes one process a worker of a search, but a launcher started several.",
            "Start it without the launcher, as often as you like.",
        )
    spread = [name for name, given in (("--ray", ray is not None), ("--workers", workers > 1)) if given]
    if spread and processes.count > 1:
        raise UsageError(
            f"{spread[0]} makes noah start processes, but a launcher started several.", "Start it without the launcher."
        )
    if len(spread) > 1:
        raise UsageError(
            "--workers starts processes of this machine, and --ray places them itself.", "Leave out --workers."
        )
    if spread and dry_run:
        raise UsageError(f"--dry-run times this process alone, without {spread[0]}.", f"Leave out {spread[0]}.")
    if resume and dry_run and join is None:
        raise UsageError("--dry-run is for a new run, but --resume goes on with an old one.", "Leave out one of them.")
    # Imported this late because it takes seconds, and typing mistakes should be reported at once.
    if join is not None:
        _refuse_beside_join(
            options,
            {"recipe": recipe, "config": config, "run": run, "resume": resume, "dry-run": dry_run}
            | {option.removeprefix("--"): True for option in spread},
        )
        from noah.api.searching import share_search
        from noah.runs.folder import open_run
        from noah_cli.commands.search_result import print_search

        joined = open_run(runs, join)
        with console.interruptible(f"noah search --join {joined.option}"):
            shared = share_search(joined, listener, own=own, time_limit=seconds)
        if shared is not None:
            print_search(listener, runs, joined, shared, chosen=True)
    elif resume:
        from noah.api.searching import resume_search
        from noah.runs.folder import open_run
        from noah_cli.commands.search_result import print_search

        current = open_run(runs, run)
        with _joined(ray, listener) as cluster, _resumable(current, runs):
            result = resume_search(
                current,
                listener,
                recipe=recipe,
                config=config or [],
                options=options,
                own=own,
                time_limit=seconds,
                cluster=cluster,
                workers=workers,
            )
        print_search(listener, runs, current, result, chosen=run is not None)
    else:
        settings, origins = processes.of_first(lambda: resolve_new(listener, recipe, config or [], options, own))
        tell_settings(listener, settings, origins)
        from noah.api.searching import begin_search, forecast_search, run_search
        from noah_cli.commands.forecast import print_forecast
        from noah_cli.commands.search_result import print_search

        if dry_run:
            forecast = forecast_search(listener, settings, origins, seconds)
            print_forecast(listener, forecast)
            listener.result(asdict(forecast))
            return
        with _joined(ray, listener) as cluster:
            current, materials, left = begin_search(listener, runs, run, settings, origins, seconds)
            with _resumable(current, runs):
                result = run_search(current, materials, listener, left, cluster=cluster, workers=workers)
        print_search(listener, runs, current, result, chosen=False)


def _joined(ray: str | None, listener: Listener) -> AbstractContextManager[Cluster | None]:
    """Ray's cluster at this place for as long as the `with` block lasts; None if none is asked for."""
    return nullcontext() if ray is None else connect(ray, listener)


def _resumable(run: Run, runs: Path) -> AbstractContextManager[None]:
    return console.interruptible(f"noah search --resume{run_options(run.folder, runs, always=True)}")


def _refuse_beside_join(options: Sequence[Layer], others: Mapping[str, object]) -> None:
    """Refuse options that would change a search that has started."""
    given = [layer.source for layer in options] + [f"--{name}" for name, value in others.items() if value]
    if given:
        raise UsageError(
            f"--join works on a search as it was started, but {' and '.join(dict.fromkeys(given))} would change it.",
            "Leave it out; only --device, --precision, --threads, --track and --time-limit may differ.",
        )
