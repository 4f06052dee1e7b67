"""`noah eval`: the test split, for the retrained winner or for an exported artefact."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from noah_cli import console
from noah_cli.options import DEFAULT_RUNS, RunOption, RunsOption

_WORST = 3


def evaluate(
    artefact: Annotated[
        Path | None, typer.Argument(help="An exported artefact; the retrained winner itself if not given.")
    ] = None,
    run: RunOption = None,
    again: Annotated[bool, typer.Option("--again", help="Measure anew what was measured before.")] = False,
    runs: RunsOption = DEFAULT_RUNS,
) -> None:
    """Measure accuracy on the test split, which no other command opens."""
    from noah.latest import follow_latest
    from noah.materials import check_same_data, prepare
    from noah.runs import open_run
    from noah.stages import evaluate_test, load_retrained

    listener = console.ConsoleListener()
    current = open_run(runs, run)
    artefact = follow_latest(artefact) if artefact else None
    what = f"the artefact {artefact.name}" if artefact else "the retrained winner"
    name = f"{artefact.name}.json" if artefact else "test.json"
    if current.path("eval", name).is_file() and not again:
        listener.say(f"eval      {what} of {current.name} was measured before; --again measures it anew.")
        _print_result(listener, current.read_json("eval", name), what)
        return
    listener.say(f"run       {current.folder}")
    predictor = None
    if artefact:
        from export.predictor import load_predictor

        predictor = load_predictor(artefact)
    materials = prepare(current.settings(), listener)
    check_same_data(current, materials)
    if predictor is None:
        load_retrained(current, materials)
        result = evaluate_test(current, materials, listener)
    else:
        from export.evaluate import evaluate_artefact

        listener.say(f"runs on   {predictor.provider} ({predictor.provider_reason})")
        result = evaluate_artefact(predictor, current, materials, listener, name)
    _print_result(listener, result, what)
    if not artefact:
        listener.say("next      noah export --format onnx")


def _print_result(listener: console.ConsoleListener, result: dict[str, Any], what: str) -> None:
    listener.say(
        f"test      {result['accuracy']:.2%} ± {result['standard_error']:.2%} of {result['total']:,} images right by "
        f"{what}"
    )
    if "top5_accuracy" in result:
        listener.say(f"          top-5 {result['top5_accuracy']:.2%}")
    listener.say(
        f"          cross-entropy {result['cross_entropy']:.4f}, calibration error {result['calibration_error']:.1%}"
    )
    measured = {name: value for name, value in result["class_accuracy"].items() if value is not None}
    worst = sorted(measured, key=measured.__getitem__)[:_WORST]
    listener.say("          hardest classes: " + ", ".join(f"{name} {measured[name]:.1%}" for name in worst))
