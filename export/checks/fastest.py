"""`--format auto`: writes every candidate, times those that pass the gate in turns, and keeps the fastest.

Candidates that cannot be told from the fastest by their times count as equally fast, and of these the simplest is kept:
the first format of the registry, in the precision that is closest to float32.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.stats import binom

from export.artifact.folder import new_artifact
from export.artifact.manifest import CARD_FILE, MANIFEST_FILE, read_manifest, write_manifest
from export.artifact.model_card import write_card
from export.artifact.records import CandidateRecord, ChoiceRecord
from export.checks.bench import Measurement, measure
from export.checks.candidates import FAULTS, Gate, candidate_requests, open_gate, refuse
from export.checks.speed import Durations
from export.formats.registry import FORMATS, find_format
from export.predict.predictor import Predictor
from export.write.request import FastestRequest, Request
from noah.errors import ExportError
from noah.hardware.gpu import gpu_name_and_target, why_no_gpu
from noah.hardware.processor import processor_name
from noah.prepare.context import Materials, at_image_size
from noah.progress import Listener, counted, joined
from noah.runs.folder import Run

NEGLIGIBLE = 0.01
"""Candidates whose times differ by less than this share count as equally fast, however surely they differ."""
_TAIL = 0.025
"""Probability outside either end of the interval for the median of the ratios."""


@dataclass(frozen=True, slots=True)
class Passed:
    """A candidate that passed the gate."""

    request: Request
    folder: Path
    predictor: Predictor
    correct: int


def export_fastest(run: Run, materials: Materials, listener: Listener, wanted: Request) -> Path:
    """Write every candidate, and keep the fastest of those that pass.

    Args:
        run: A run whose subnet has been retrained.
        materials: Its dataset, and its backbone at the size of the search.
        listener: Prints each step.
        wanted: What is asked of every candidate, and in `fastest` what it has to be fast for.

    Returns:
        The folder of the artifact that is kept, whose manifest tells about all candidates.

    Raises:
        CommandOrderError: If the subnet has not been retrained.
        ExportError: If no candidate passes.
        SettingsError: If the backbone's patches do not fill the input size asked for.
    """
    asked = wanted.fastest
    if asked is None:
        raise ValueError("nothing is asked for that the artifact has to be fast for")
    sized = materials if wanted.input_size is None else at_image_size(materials, wanted.input_size)
    if sized is materials:
        wanted = replace(wanted, input_size=None)
    requests, not_here = candidate_requests(wanted, asked.batch)
    listener.say(f"fastest   for {asked.purpose}, batches of {counted(asked.batch, 'images')}: {_named(requests)}")
    for record in not_here:
        listener.say(f"not here  {record.name}: {record.refused}")
    others = [name for name, format_ in FORMATS.items() if not format_.models]
    listener.say(f"not timed {', '.join(others)}: noah itself does not run them")
    gate = open_gate(run, sized, listener, wanted, batch=asked.batch, lose_at_most=asked.lose_at_most)
    run.path("export").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=".candidates-", dir=run.path("export"), ignore_cleanup_errors=True
    ) as scratch:
        passed, refused = _write_all(run, materials, listener, requests, gate, Path(scratch))
        if not passed:
            raise ExportError(
                f"No candidate can be chosen: {'; '.join(f'{one.name}: {one.refused}' for one in refused)}.",
                "Nothing was written. Allow more with --lose-at-most, or name a format.",
            )
        measured = measure(
            [one.predictor for one in passed],
            "fp32",
            batches=(asked.batch,),
            seconds=asked.seconds,
            provider=None,
            threads=sized.hardware.threads,
            listener=listener,
            loading=False,
        )
        choice = _record(passed, [*refused, *not_here], measured, gate, asked)
        chosen = next(one for one in passed if one.request.folder_name == choice.chosen.name)
        listener.say(f"chosen    {chosen.request.folder_name}: {choice.reason}")
        return _keep(run, chosen, choice)


def find_close(durations: Mapping[str, Durations]) -> tuple[str, frozenset[str]]:
    """Find the fastest, and those that cannot be told from it.

    Two are compared by the ratios of their rounds, in which they ran one after the other: they cannot be told apart if
    the 95 % interval for the median ratio, which assumes nothing about how times are distributed, reaches to within
    `NEGLIGIBLE` of 1.

    Args:
        durations: The seconds of each round, by name.

    Returns:
        The name of the fastest, and those of all that are close to it, itself included.
    """
    fastest = min(durations, key=lambda name: float(np.median(durations[name])))
    close = {name for name, seconds in durations.items() if _lower_end(seconds / durations[fastest]) <= 1 + NEGLIGIBLE}
    return fastest, frozenset(close | {fastest})


def _lower_end(ratios: Durations) -> float:
    """Lower end of the interval for the median, by the ranks of the values."""
    rank = int(binom.ppf(_TAIL, len(ratios), 0.5))
    return float(np.sort(ratios)[max(rank - 1, 0)])


def _write_all(
    run: Run, materials: Materials, listener: Listener, requests: Sequence[Request], gate: Gate, scratch: Path
) -> tuple[list[Passed], list[CandidateRecord]]:
    """Write the candidates one by one, and ask the gate about each."""
    passed, refused = [], []
    for number, request in enumerate(requests, 1):
        listener.say(f"candidate {request.folder_name}, {number} of {len(requests)}")
        try:
            folder = find_format(request.format).write(run, materials, listener, replace(request, within=scratch))
            predictor, correct = gate.open(folder, request)
        except FAULTS as error:
            why = error.problem.replace(f"{scratch}{os.sep}", "")  # a place that will be gone
            refused.append(refuse(request, why))
        else:
            if not (why := gate.why_not_accurate(correct)):
                passed.append(Passed(request, folder, predictor, correct))
                continue
            refused.append(refuse(request, why, correct))
        listener.say(f"rejected  {request.folder_name}: {refused[-1].refused}")
    return passed, refused


def _record(
    passed: Sequence[Passed],
    refused: Sequence[CandidateRecord],
    measured: Sequence[Measurement],
    gate: Gate,
    asked: FastestRequest,
) -> ChoiceRecord:
    *own, backbone = measured
    fastest, close = find_close({one.contender.name: one.durations[0] for one in own})
    timed = [
        CandidateRecord(
            name=one.request.folder_name,
            format=one.request.format,
            precision=one.request.precision,
            correct=one.correct,
            seconds=found.timings[0].p50,
            times_as_fast=(found.ratios[0].low, found.ratios[0].median, found.ratios[0].high),
            is_close=found.contender.name in close,
        )
        for one, found in zip(passed, own, strict=True)
    ]
    choice = ChoiceRecord(
        purpose=asked.purpose,
        batch=asked.batch,
        lose_at_most=asked.lose_at_most,
        images=gate.images,
        total=len(gate.pixels),
        correct_in_float32=gate.correct_in_float32,
        processor=processor_name(),
        gpu=None if why_no_gpu() else gpu_name_and_target()[0],
        threads=gate.materials.hardware.threads,
        rounds=backbone.timings[0].runs,
        backbone_seconds=backbone.timings[0].p50,
        fastest=fastest,
        reason="it is the fastest",
        candidates=(*timed, *refused),
    )
    return choice.model_copy(update={"reason": _reason(choice)})


def _reason(choice: ChoiceRecord) -> str:
    name = choice.chosen.name
    others = [one.name for one in choice.candidates if one.is_close and one.name != name]
    if not others:
        return "it is the fastest"
    if name == choice.fastest:
        return f"it is the fastest; {joined(others)} cannot be told from it by these times"
    return f"it cannot be told from the fastest, {choice.fastest}, by these times, and is simpler"


def _keep(run: Run, chosen: Passed, choice: ChoiceRecord) -> Path:
    """Give the chosen candidate its place in the run."""
    final = run.path("export", chosen.request.folder_name)
    format_ = find_format(chosen.request.format)
    manifest = read_manifest(chosen.folder).model_copy(update={"choice": choice})
    with new_artifact(run, final.name) as building:
        # Copied, since some systems let nobody move files that are open.
        shutil.copytree(
            chosen.folder, building, dirs_exist_ok=True, ignore=shutil.ignore_patterns(CARD_FILE, MANIFEST_FILE)
        )
        usage = format_.usage(manifest, final)
        write_card(manifest, run, building / CARD_FILE, final, form=format_.form, usage=usage)
        write_manifest(manifest, building)
    run.log(
        "export",
        "finished",
        name=final.name,
        parity=[parity.model_dump(mode="json") for parity in manifest.parity],
        choice=choice.model_dump(mode="json"),
    )
    return final


def _named(requests: Sequence[Request]) -> str:
    return joined([request.folder_name for request in requests]) if requests else "nothing runs here"
