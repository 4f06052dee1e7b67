"""A test: of a run's retrained subnet on the test split or on another dataset, or of an artifact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from export.checks.artifact_accuracy import evaluate_artifact
from export.formats.load import artifact_folder, load_predictor, read_artifact
from export.formats.registry import model_files
from export.predict.predictor import Predictor
from noah.data.intake import ASKED_SHARE
from noah.errors import UsageError
from noah.files.latest import follow_latest, is_run
from noah.prepare.context import Materials, check_same_data
from noah.prepare.prepare_run import prepare_run
from noah.progress import Listener
from noah.runs.artifact_results import artifact_result
from noah.runs.folder import Run
from noah.runs.run_subnet import check_still_chosen, given_subnet
from noah.runs.stored_results import read_result
from noah.settings.layers import Layer
from noah.settings.option_layers import option_layers
from noah.stages.foreign_evaluation import evaluate_foreign, find_foreign
from noah.stages.retrain_stage import evaluate_test
from noah.trackers.result import track_result


@dataclass(frozen=True, slots=True)
class Measured:
    """The result of a test.

    Attributes:
        result: The content of the file that keeps it.
        what: What was measured, in words.
        is_new: Whether it was measured now, and not read from the file.
    """

    result: dict[str, Any]
    what: str
    is_new: bool


def evaluation_layers(
    current: Run, *, allow_copies: bool = False, damaged: Literal["stop", "skip"] | None = None
) -> list[Layer]:
    """Make the layers of the options that say what a test set may be like.

    Args:
        current: The run, whose own settings hold where nothing is said.
        allow_copies: Go on although every image of one split is also in another.
        damaged: What happens to test images that cannot be decoded: "stop", or "skip", which leaves out as large a
            share as such an option does when a run begins, or as the run was started with if that is more.
    """
    own = current.settings().data.damaged_share
    share = max(own, ASKED_SHARE) if own is not None and damaged == "skip" else None
    return option_layers(
        allow_copies=allow_copies or None,
        damaged=damaged,
        damaged_share=share,
    )


def open_tested(
    artifact: Path, *, device: str | None = None, precision: str | None = None, threads: int | None = None
) -> tuple[Predictor, str | None]:
    """Open an artifact, and find the run whose folder holds it.

    Args:
        artifact: As `export.formats.load.load_predictor` takes it; `latest` in it stands for the latest run.
        device: As --device says; on cpu, no GPU runs it.
        precision: As --precision says, which is refused unless it is auto.
        threads: CPU threads; None for a choice.

    Returns:
        The artifact, and the path of its run; None if it lies elsewhere.

    Raises:
        UsageError: If a precision is asked for, or that an engine runs on the CPU.
        NoahError: If the artifact cannot be opened.
    """
    artifact = follow_latest(artifact)
    if precision not in (None, "auto"):
        raise UsageError(
            "--precision has no effect on an artifact, which has a precision of its own.",
            "Leave it out, or name an artifact in another precision.",
        )
    if device == "cpu":
        _, file = read_artifact(artifact)
        if "cpu" not in model_files()[file].runs_on:
            raise UsageError(
                f"{artifact_folder(artifact) / file} does not run on the CPU.",
                "Leave out --device cpu, or name the ONNX file beside it.",
            )
    predictor = load_predictor(artifact, provider="cpu" if device == "cpu" else None, threads=threads)
    home = predictor.folder.parent.parent
    if not is_run(home):
        return predictor, None
    return predictor, str(home.relative_to(Path.cwd()) if home.is_relative_to(Path.cwd()) else home)


def evaluate_run(
    current: Run,
    listener: Listener,
    own: Sequence[Layer] = (),
    *,
    on: str | None = None,
    again: bool = False,
    data: Path | None = None,
) -> Measured:
    """Measure the retrained subnet on the test split, or on another dataset.

    Args:
        current: The run.
        listener: Receives the progress.
        own: Layers of the options for hardware.
        on: The name or path of another dataset; None for the test split.
        again: Measure even if there is a result.
        data: Where the run's images are now, if they have moved.

    Raises:
        NoahError: If anything is wrong with the run or the dataset.
    """
    what = "the retrained winner" if given_subnet(current) is None else "the trained subnet"
    check_still_chosen(current)
    if on is not None:
        measured = _evaluate_on(current, listener, own, on, what, again=again, data=data)
    elif current.path("eval", "test.json").is_file() and not again:
        measured = Measured(read_result(current, "eval", "test.json"), what, is_new=False)
        _tell_stored(current, what, listener, own, data)
    else:
        materials = _prepared(current, listener, own, data)
        measured = Measured(evaluate_test(current, materials, listener), what, is_new=True)
    _tell_duplicates(measured.result, listener)
    track_result(current, measured.result, listener)
    return measured


def evaluate_exported(
    current: Run,
    predictor: Predictor,
    listener: Listener,
    own: Sequence[Layer] = (),
    *,
    again: bool = False,
    data: Path | None = None,
) -> Measured:
    """Measure an artifact on the test split of a run.

    Args:
        current: The run whose data it is measured on.
        predictor: The artifact.
        listener: Receives the progress.
        own: Layers of the options for hardware.
        again: Measure even if there is a result of the same files.
        data: Where the run's images are now, if they have moved.

    Raises:
        NoahError: If anything is wrong with the run, or the artifact does not belong to it.
    """
    place = ("eval", *artifact_result(current, f"{predictor.name}.json"))
    what = f"the artifact {predictor.name}"
    if current.path(*place).is_file() and not again:
        result = read_result(current, *place)
        if result.get("files") == predictor.manifest.file_hashes:
            _tell_stored(current, what, listener, own, data)
            _tell_duplicates(result, listener)
            return Measured(result, what, is_new=False)
    materials = _prepared(current, listener, own, data)
    listener.say(f"runs on   {predictor.provider} ({predictor.provider_reason})")
    result = evaluate_artifact(predictor, current, materials, listener, place[-1])
    _tell_duplicates(result, listener)
    return Measured(result, what, is_new=True)


def _prepared(current: Run, listener: Listener, own: Sequence[Layer], data: Path | None) -> Materials:
    """What a run works with, of the same images as when it began."""
    listener.say(f"run       {current.folder}")
    materials = prepare_run(current, listener, own, data=data)
    check_same_data(current, materials)
    return materials


def _tell_stored(
    current: Run, what: str, listener: Listener, own: Sequence[Layer], data: Path | None = None, on: str = ""
) -> None:
    """Say that a stored result is given; images that are said to have moved are looked at nevertheless."""
    if data is not None:
        _prepared(current, listener, own, data)
    given = ", with these options" if own else ""
    listener.say(f"eval      {what} of {current.name} was measured{on} before; --again repeats it{given}.")


def _evaluate_on(
    current: Run, listener: Listener, own: Sequence[Layer], on: str, what: str, *, again: bool, data: Path | None
) -> Measured:
    """Find the other dataset, say how it was read, and measure; an existing result is given unless `again` is set.

    Raises:
        UsageError: If the result file holds the result of another dataset.
        NoahError: If anything else is wrong with the run or the dataset.
    """
    materials = _prepared(current, listener, own, data)
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
        _tell_stored(current, what, listener, own, on=f" on {foreign.name}")  # its images were looked at
        result, is_new = stored, False
    else:
        result, is_new = evaluate_foreign(current, materials, foreign, listener), True
    return Measured(result, f"{what} on {result['split']}", is_new=is_new)


def _tell_duplicates(result: Mapping[str, Any], listener: Listener) -> None:
    """Warn of test images that the run began with, and of groups on both sides."""
    found, total = result.get("duplicates") or {}, result["total"]
    if not found.get("checked", True):
        reason = found["reason"]
        listener.say(f"images    Whether the network has seen test images in training is not known: {reason}.")
    for how, word in (("exact", "are"), ("near", "are nearly the same as")):
        if found.get(how):
            listener.say(
                f"WARNING   {found[how]:,} of {total:,} test images {word} images that the network was trained or "
                "chosen on; the result in the run's folder names them."
            )
    if found.get("accuracy_without") is not None:
        listener.say(f"          {found['accuracy_without']:.2%} of the others are right.")
    if found.get("groups"):
        listener.say(
            f"WARNING   {found['groups']:,} groups have images for testing and others that the network was trained on."
        )
