"""What can be checked about a run without computing anything: its seals, and that its files belong together.

`noah.checks.reproduction` measures again what is stored; `export.checks.belonging` checks artifacts.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from noah.data.sources.imagenet_variants import find_variant
from noah.errors import NoahError, RunError
from noah.files.jsonl import read_lines
from noah.nas.candidate import Candidate
from noah.progress import counted, first_of
from noah.runs.artifact_results import FOLDERS, artifact_results
from noah.runs.export_command import export_command
from noah.runs.file_shapes import Trained, check_shape
from noah.runs.folder import RUN_FILE, Run
from noah.runs.kept_predictions import read_predictions
from noah.runs.run_subnet import chosen_subnet, given_subnet, read_subnet
from noah.runs.seals import FOLDER, RETRAIN, SEARCH, START, SUPERNET, Place, is_sealed, read_seal, result_place, seals
from noah.runs.stored_results import read_result, read_winner
from noah.training.checkpoint_file import CHECKPOINT_FILE, read_losses

RESTORE = "Restore the run folder from a copy, or start a new run with `noah search`."
_NAMED = 3
_UNSEALED = ("lock", ".owner", ".cache", "model_card.md", "log.jsonl", ".tmp")
"""The endings of files that are never sealed: locks, caches, files that people may edit or that stages append to."""
_UNSEALED_PLACES = (FOLDER, "report", "report.html", "trackers")
"""The places in the run folder that no stage writes to."""


@dataclass(frozen=True, slots=True)
class Check:
    """The outcome of one check.

    Attributes:
        what: What was checked, in a few words.
        state: "ok"; "failed"; "absent" if there was nothing to check, or nothing to check it against; or "note" if
            there is something that is not checked.
        why: What was found.
        following: The command or sentence that fixes it; may be empty.
    """

    what: str
    state: Literal["ok", "failed", "absent", "note"]
    why: str
    following: str = ""


def check_run(run: Run) -> Iterator[Check]:
    """Check everything that the run folder alone reveals, in the order of the stages.

    Nothing is written. A stage that another process is working on has no seal yet, so it counts as not finished.
    """
    yield from _check_seals(run)
    yield checked("settings (run.yaml)", RESTORE, lambda: _check_settings(run))
    if given_subnet(run) is None and run.path("search", "best.json").is_file():
        yield checked("winner (search/best.json)", RESTORE, lambda: _check_winner(run))
    if is_sealed(run, SUPERNET):
        yield checked(
            "supernet (supernet/)",
            RESTORE,
            lambda: _check_losses(run, "supernet", run.read_json(*_LOSSES)["losses"]),
        )
    if run.path("retrain", "model.json").is_file():
        again = f"noah retrain --restart --run {run.option}"
        yield checked("retrained (retrain/)", again, lambda: _check_retrained(run))
    for parts in results(run):
        again = _mend(run, result_place(*parts))
        yield checked(f"result (eval/{'/'.join(parts)})", again, partial(_check_result, run, parts))


_LOSSES = ("supernet", "losses.json")


def results(run: Run) -> list[tuple[str, ...]]:
    """The stored test results, as paths below eval/, the winner's first."""
    root = run.path("eval")
    others = [path.relative_to(root).parts for path in sorted(root.glob("on/*.json")) if path.is_file()]
    return [("test.json",)] * (root / "test.json").is_file() + artifact_results(run) + others


def checked(what: str, following: str, look: Callable[[], str]) -> Check:
    """Run one check and turn its result, or its error, into an outcome.

    Args:
        what: What is checked, in a few words.
        following: The command or sentence that fixes it.
        look: Says what it found, and raises a NoahError if something is wrong.
    """
    try:
        return Check(what, "ok", look())
    except NoahError as error:
        return Check(what, "failed", error.problem, following)


def _check_seals(run: Run) -> Iterator[Check]:
    """Compare each seal with its files; then report what has no seal."""
    sealed: set[str] = set()
    for place in sorted(seals(run), key=_order):
        name = f"seal of {'/'.join(place)}"
        try:
            files = read_seal(run, place)
        except RunError as error:
            yield Check(name, "failed", error.problem, _mend(run, place))
            continue
        sealed |= {file.path for file in files}
        states = {file.path: file.compare(run) for file in files}
        wrong = [
            f"{path} {'was changed' if s == 'changed' else 'is missing'}" for path, s in states.items() if s != "whole"
        ]
        if wrong and place[0] in ("eval", "export") and set(states.values()) == {"missing"}:
            yield Check(name, "absent", "it was removed")
        elif wrong:
            yield Check(name, "failed", first_of(wrong, _NAMED), _mend(run, place))
        else:
            yield Check(
                name,
                "ok",
                f"SHA-256 of {counted(len(files), 'files')} as {'they were' if len(files) != 1 else 'it was'} written",
            )
    yield from _check_unsealed(run)
    yield from _other_files(run, sealed)


def _check_unsealed(run: Run) -> Iterator[Check]:
    """Report stages that are not finished, or were finished by a version that did not keep seals."""
    given = given_subnet(run) is not None
    resume = f"noah {'retrain --resume' if given else 'search --resume'} --run {run.option}"
    stages: list[tuple[Place, Path, Path, str]] = [(START, run.path(RUN_FILE), run.path(RUN_FILE), resume)]
    if not given:
        best = run.path("search", "best.json")
        stages.append((SUPERNET, run.path("supernet"), run.path(*_LOSSES), resume))
        stages.append((SEARCH, run.path("search", "study.json"), best, resume))
    model = run.path("retrain", "model.json")
    begun = run.path("retrain").is_dir() and any(run.path("retrain").iterdir())
    stages.append(
        (RETRAIN, run.path("retrain"), model, f"noah retrain {'--resume ' if begun else ''}--run {run.option}")
    )
    test = run.path("eval", "test.json")
    again = "--again " if test.is_file() else ""
    stages.append((result_place("test.json"), test, test, f"noah eval {again}--run {run.option}"))
    for place, beginning, end, following in stages:
        if not is_sealed(run, place):
            why = "not there yet"
            if beginning.exists():
                why = "no seal was kept" if end.exists() else "begun and not finished"
            yield Check("/".join(place), "absent", why, following)


def _other_files(run: Run, sealed: set[str]) -> Iterator[Check]:
    """Report files that no seal names, so that nobody believes they were checked."""
    found = [
        path.relative_to(run.folder).as_posix()
        for path in sorted(run.folder.rglob("*"))
        if path.is_file() and not path.name.endswith(_UNSEALED)
    ]
    others = [name for name in found if name not in sealed and name.split("/")[0] not in _UNSEALED_PLACES]
    if others:
        yield Check("other files", "note", f"no seal names {first_of(others, _NAMED)}")


def _order(place: Place) -> tuple[int, Place]:
    stages = ("start", "supernet", "search", "retrain", "eval", "export")
    return stages.index(place[0]) if place[0] in stages else len(stages), place


def _mend(run: Run, place: Place) -> str:
    """The command or sentence that fixes a broken seal."""
    match place[0]:
        case "retrain":
            return f"noah retrain --restart --run {run.option}"
        case "eval" if place == result_place("test.json"):
            return f"noah eval --again --run {run.option}"
        case "eval" if place[1] in FOLDERS:
            return f"noah eval {shlex.quote(str(_tested_artifact(run, place[-1])))} --again"
        case "eval":
            return f"noah eval --on {shlex.quote(_measured_on(run, place[-1]))} --again --run {run.option}"
        case "export":
            return export_command(run.folder, place[1])
    return RESTORE


def _measured_on(run: Run, name: str) -> str:
    """The folder or dataset that the result eval/on/NAME.json stores; NAME where it stores none, or another folder.

    A variant of ImageNet may lie in a folder of another name, whose path would stand for another result.
    """
    try:
        source = run.read_json("eval", "on", f"{name}.json")["source"]
    except (RunError, KeyError, TypeError):
        return name
    return source if isinstance(source, str) and (find_variant(name) is None or Path(source).name == name) else name


def _tested_artifact(run: Run, name: str) -> Path:
    """The artifact that a result belongs to: its folder, or for a name such as trt-fp16.model.onnx a file in it."""
    for folder in sorted(run.path("export").glob("*/")):
        file = name.removeprefix(f"{folder.name}.")
        if file != name and (folder / file).is_file():
            return folder / file
    return run.path("export", name)


def _check_settings(run: Run) -> str:
    run.settings()
    return "every setting is one that this version knows"


def _check_winner(run: Run) -> str:
    """Check that the winner is one of the candidates, with the same figures, and is within the budget."""
    winner = read_winner(run)
    candidate = Candidate.from_json(winner)  # its shape has been checked
    lines = read_lines(run.path("search", "candidates.jsonl"))
    twins = [line for line in lines if isinstance(line, dict) and line.get("index") == candidate.index]
    if len(twins) != 1:
        raise RunError(f"search/candidates.jsonl holds the winner, number {candidate.index}, {len(twins)} times.")
    if {**winner, **twins[0]} != winner:
        raise RunError(f"search/candidates.jsonl disagrees about the winner, number {candidate.index}.")
    if candidate.outcome.complete and candidate.score.correct != candidate.score.total - len(candidate.outcome.wrong):
        raise RunError("The winner's number of right images does not match its list of wrong ones.")
    for quantity, limit in winner["budget"].items():
        cost = winner["parameters"] if quantity == "parameters" else winner["costs"][quantity]
        if cost > limit:
            raise RunError(f"The winner has {cost:,} {quantity}, and {limit:,} are allowed.")
    return f"number {candidate.index} of {len(lines):,} candidates, inside the budget"


def _check_losses(run: Run, stage: str, losses: Any) -> str:
    """Check that the checkpoint belongs to the training whose losses are stored."""
    found = read_losses(run.path(stage, CHECKPOINT_FILE))
    if list(found) != losses:
        raise RunError(f"{run.path(stage, CHECKPOINT_FILE)} belongs to another training than the stored losses.")
    return f"the checkpoint is that of the training, {counted(len(found), 'epochs')}"


def _check_retrained(run: Run) -> str:
    path = run.path("retrain", "model.json")
    model = check_shape(run.read_json("retrain", "model.json"), Trained, path, RESTORE)
    if read_subnet(run, "retrain", "model.json") != chosen_subnet(run):
        raise RunError("The subnet that was retrained is not the one that the run is about.")
    return f"{_check_losses(run, 'retrain', model['losses'])}, of the run's own subnet"


def _check_result(run: Run, parts: tuple[str, ...]) -> str:
    """Check that a result belongs to the retrained subnet and to the predictions that were kept with it."""
    result = read_result(run, "eval", *parts)
    if "subnet" in result and read_subnet(run, "eval", *parts) != read_subnet(run, "retrain", "model.json"):
        raise RunError("It was measured on another subnet than the retrained one.")
    share = f"{result['correct']:,} of {result['total']:,} right"
    if abs(result["accuracy"] * result["total"] - result["correct"]) > 1e-6 * result["total"]:
        raise RunError(f"Its accuracy does not match {share}.")
    if not run.path("eval", "predictions", *parts).is_file():
        return share
    predictions = read_predictions(run, *parts)
    if (int(predictions.right.sum()), len(predictions.labels)) != (result["correct"], result["total"]):
        raise RunError("Its predictions, image by image, come from another test.")
    return f"{share}, as its predictions say image by image"
