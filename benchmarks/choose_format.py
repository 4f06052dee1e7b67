"""Compares what `noah export --format auto` chooses with a longer timing of all candidates that passed its gate.

    python -m benchmarks.choose_format runs/latest [--for throughput] [--batch 32] [--repeats 3] [--seconds 30]

Lets `auto` choose, several times; then writes each of those candidates once more and times them in turns for longer, in
a random order. For a quiet machine: with others at work, both timings measure these. A choice is right if it is
within 3 %, or twice the noise that the longer timing shows, of the fastest. The noise is the largest change of a
candidate's median from the even rounds to the odd ones. Prints a table, writes all figures to --out as JSON, and fails
if a choice is wrong.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from export.artifact.manifest import read_manifest
from export.artifact.records import ChoiceRecord
from export.checks.bench import measure
from export.checks.candidates import candidate_requests
from export.checks.speed import Durations
from export.formats.load import load_predictor
from export.formats.registry import FORMATS
from export.write.request import Request
from noah.api.exporting import export_run, plan_export
from noah.files.atomic import write_json
from noah.hardware.processor import processor_name
from noah.prepare.context import prepare
from noah.progress import Listener, Silent
from noah.runs.folder import Run
from noah.settings.option_layers import option_layers

ALLOWED = 0.03
"""How much slower than the fastest a choice may be if there is no noise."""


@dataclass(frozen=True)
class Longer:
    """The longer timing of all candidates.

    Attributes:
        seconds: Median seconds for a batch, by candidate.
        rounds: Number of rounds.
        noise: The largest change of a median from the even rounds to the odd ones, as a share.
    """

    seconds: dict[str, float]
    rounds: int
    noise: float

    @property
    def fastest(self) -> str:
        """The candidate with the shortest times."""
        return min(self.seconds, key=lambda name: self.seconds[name])

    @property
    def allowed(self) -> float:
        """How much slower than the fastest a choice may be, as a share."""
        return max(ALLOWED, 2 * self.noise)

    def slower(self, name: str) -> float:
        """How much slower than the fastest a candidate is, as a share."""
        return self.seconds[name] / self.seconds[self.fastest] - 1


def longer_timing(durations: dict[str, Durations]) -> Longer:
    """Summarize the seconds of each round, by candidate."""
    halves = [np.median(seconds[::2]) / np.median(seconds[1::2]) for seconds in durations.values()]
    return Longer(
        {name: float(np.median(seconds)) for name, seconds in durations.items()},
        min(map(len, durations.values())),
        float(max(abs(half - 1) for half in halves)),
    )


def time_longer(
    run: Run, names: set[str], wanted: Request, batch: int, seconds: float, threads: int | None, listener: Listener
) -> Longer:
    """Write candidates into a temporary folder, and time them in turns."""
    materials = prepare(run.settings(), listener)
    requests, _ = candidate_requests(wanted, batch)
    with tempfile.TemporaryDirectory(prefix="noah-") as folder:
        predictors = [
            load_predictor(
                FORMATS[request.format].write(run, materials, listener, replace(request, within=Path(folder))),
                threads=threads,
            )
            for request in requests
            if request.folder_name in names
        ]
        np.random.default_rng().shuffle(predictors)  # type: ignore[arg-type]  # a list is shuffled in place
        measured = measure(
            predictors,
            None,
            batches=(batch,),
            seconds=seconds,
            provider=None,
            threads=threads,
            listener=listener,
            loading=False,
        )
    return longer_timing({one.contender.name: one.durations[0] for one in measured})


def main() -> None:
    """Compare, print and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run whose subnet has been retrained")
    parser.add_argument("--for", dest="purpose", choices=("latency", "throughput"), default="throughput")
    parser.add_argument("--batch", help="batch size; if not given, that of the purpose")
    parser.add_argument("--repeats", type=int, default=3, help="how often auto chooses")
    parser.add_argument("--seconds", type=float, default=30.0, help="of the longer timing, for each candidate")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--out", type=Path, help="file for all figures, JSON")
    arguments = parser.parse_args()

    run, wanted = Run(arguments.run.resolve()), plan_export("auto", for_=arguments.purpose, batch=arguments.batch)
    choices: list[ChoiceRecord] = []
    for _ in range(arguments.repeats):
        folder = export_run(run, wanted, Silent(), option_layers(precision="fp32", threads=arguments.threads))
        choice = read_manifest(folder).choice
        assert choice is not None  # auto always tells
        choices.append(choice)
    timed = {one.name for choice in choices for one in choice.candidates if one.seconds is not None}
    longer = time_longer(run, timed, wanted, choices[0].batch, arguments.seconds, choices[0].threads, Silent())
    right = [longer.slower(choice.chosen.name) <= longer.allowed for choice in choices]
    _print(longer, choices, right)
    if arguments.out:
        figures: dict[str, Any] = {
            "run": run.name,
            "processor": processor_name(),
            "longer": asdict(longer) | {"fastest": longer.fastest, "allowed": longer.allowed},
            "choices": [choice.model_dump(mode="json") | {"chosen": choice.chosen.name} for choice in choices],
            "right": right,
        }
        write_json(arguments.out, figures)
    sys.exit(0 if all(right) else 1)


def _print(longer: Longer, choices: list[ChoiceRecord], right: list[bool]) -> None:
    print(f"| candidate, batch {choices[0].batch} | ms in {longer.rounds} rounds | slower than the fastest |")
    print("|---|---:|---:|")
    for name in sorted(longer.seconds, key=lambda name: longer.seconds[name]):
        print(f"| {name} | {1000 * longer.seconds[name]:.2f} | {longer.slower(name):.1%} |")
    print(f"\nnoise {longer.noise:.1%}, allowed {longer.allowed:.1%}, on {processor_name()}")
    for choice, is_right in zip(choices, right, strict=True):
        name = choice.chosen.name
        verdict = "right" if is_right else "WRONG"
        print(f"{verdict}: {name}, {longer.slower(name):.1%} slower than {longer.fastest}; {choice.reason}")


if __name__ == "__main__":
    main()
