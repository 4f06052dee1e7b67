"""`noah eval`: measures the retrained winner on the test split or another dataset, or an artifact on the test split."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from noah.errors import UsageError
from noah.files.latest import DEFAULT_RUNS
from noah.settings.layers import Layer
from noah_cli.options.option_layers import hardware_layers, option_layers
from noah_cli.options.options import (
    AllowCopiesOption,
    DeviceOption,
    PrecisionOption,
    RunOption,
    RunsOption,
    ThreadsOption,
    run_options,
)
from noah_cli.terminal import console

if TYPE_CHECKING:  # it imports torch, which takes seconds
    from noah.runs.folder import Run


_WORST = 3


def evaluate(
    context: typer.Context,
    artifact: Annotated[
        Path | None, typer.Argument(help="An exported artifact; if not given, the retrained winner itself.")
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
    allow_copies: AllowCopiesOption = False,
    again: Annotated[bool, typer.Option("--again", help="Measure again, even if there is a result.")] = False,
    device: DeviceOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Measure accuracy on the test split, which only `noah datasets check` opens besides."""
    from noah.files.latest import follow_latest
    from noah.prepare.context import check_same_data, prepare
    from noah.runs.artifact_results import artifact_result
    from noah.runs.folder import RUN_FILE, open_run
    from noah.runs.run_subnet import given_subnet
    from noah.stages.retrain_stage import evaluate_test, read_result
    from noah_cli.trackers.result import track_result

    listener = console.open_listener(context)
    predictor = None
    what = ""
    place: tuple[str, ...] = ("eval", "test.json")
    if artifact:
        if on is not None:
            raise UsageError("--on measures the retrained winner, not an artifact.", "Leave out one of them.")
        from export.predict.predictor import load_predictor

        predictor = load_predictor(follow_latest(artifact))
        what = f"the artifact {predictor.name}"
        if run is None and (predictor.folder.parent.parent / RUN_FILE).is_file():
            home = predictor.folder.parent.parent  # the run that holds the artifact
            run = str(home.relative_to(Path.cwd()) if home.is_relative_to(Path.cwd()) else home)
    current = open_run(runs, run)
    if predictor is not None:
        place = ("eval", *artifact_result(current, f"{predictor.name}.json"))
    what = what or ("the retrained winner" if given_subnet(current) is None else "the trained subnet")
    changes = hardware_layers(device, precision, threads)
    changes += option_layers(allow_copies=("data.allow_copies", allow_copies or None))
    if on is not None:
        result = evaluate_on(listener, current, changes, on, again)
        _print_result(listener, result, f"{what} on {result['split']}")
        track_result(current, result, listener)
        listener.result({"run": str(current.folder), **result})
        return
    if current.path(*place).is_file() and not again:
        result = read_result(current, *place)
        if predictor is None or result.get("files") == predictor.manifest.file_hashes:
            listener.say(f"eval      {what} of {current.name} was measured before; --again repeats it.")
            _print_result(listener, result, what)
            if not artifact:
                track_result(current, result, listener)
            listener.result({"run": str(current.folder), **result})
            return
    listener.say(f"run       {current.folder}")
    materials = prepare(current.settings(changes), listener, run=current)
    check_same_data(current, materials)
    if predictor is None:
        result = evaluate_test(current, materials, listener)
    else:
        from export.checks.artifact_accuracy import evaluate_artifact

        listener.say(f"runs on   {predictor.provider} ({predictor.provider_reason})")
        result = evaluate_artifact(predictor, current, materials, listener, place[-1])
    _print_result(listener, result, what)
    if not artifact:
        track_result(current, result, listener)
        listener.say_next(f"noah export --format onnx{run_options(current.folder, runs, always=run is not None)}")
    listener.result({"run": str(current.folder), **result})


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
    for line in duplicates_told(result.get("duplicates") or {}, result["total"]):
        listener.say(line)
    measured = {name: value for name, value in result["class_accuracy"].items() if value is not None}
    worst = sorted(measured, key=measured.__getitem__)[:_WORST]
    listener.say("          hardest classes: " + ", ".join(f"{name} {measured[name]:.1%}" for name in worst))


def duplicates_told(found: dict[str, Any], total: int) -> list[str]:
    """Warn of test images that the run began with, and of groups on both sides."""
    lines = []
    for how, word in (("exact", "are"), ("near", "are nearly the same as")):
        if found.get(how):
            lines.append(
                f"WARNING   {found[how]:,} of {total:,} test images {word} images that the network was trained or "
                "chosen on; the result in the run's folder names them."
            )
    if found.get("accuracy_without") is not None:
        lines.append(f"          {found['accuracy_without']:.2%} of the others are right.")
    if found.get("groups"):
        lines.append(
            f"WARNING   {found['groups']:,} groups have images for testing and others that the network was trained on."
        )
    return lines


def evaluate_on(
    listener: console.ConsoleListener, current: Run, changes: list[Layer], on: str, again: bool
) -> dict[str, Any]:
    """Find the other dataset, print how it was read, and measure; an existing result is returned unless `again` is set.

    Raises:
        UsageError: If the result file holds the result of another dataset.
        NoahError: If anything else is wrong with the run or the dataset.
    """
    from noah.prepare.context import check_same_data, prepare
    from noah.stages.foreign_evaluation import evaluate_foreign, find_foreign
    from noah.stages.retrain_stage import read_result

    listener.say(f"run       {current.folder}")
    materials = prepare(current.settings(changes), listener, run=current)
    check_same_data(current, materials)
    foreign = find_foreign(on, materials.settings, materials.dataset.classes)
    listener.say(
        f"data      {foreign.name}: {len(foreign.split):,} images of {len(foreign.present):,} of the run's "
        f"{len(materials.dataset.classes):,} classes; only these can be predicted"
    )
    for note in foreign.notes:
        listener.say(f"          {note}")
    place = ("eval", "on", f"{foreign.name}.json")
    if current.path(*place).is_file() and not again:
        stored = read_result(current, *place)
        if stored.get("source") != foreign.source:
            raise UsageError(
                f"{current.path(*place)} holds the result of another dataset that is also named {foreign.name}.",
                "Rename the folder after --on, or replace that result with --again.",
            )
        listener.say(f"eval      {current.name} was measured on {foreign.name} before; --again repeats it.")
        return stored
    return evaluate_foreign(current, materials, foreign, listener)
