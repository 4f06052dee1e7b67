"""How many images racing saves on a trained supernet, and whether it finds the same subnets.

    python benchmarks/racing.py RUN [--candidates 200] [--top 10]

A search evaluates every candidate on every image once and keeps the logits. Exact and paired racing then search anew on
the same logits; a subnet that only they propose is evaluated when it comes up. Prints one line of JSON for each rule.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noah.candidate import Candidate, rank
from noah.evaluation import Logits
from noah.evolution import evolve
from noah.layers import Layer
from noah.materials import prepare
from noah.progress import Silent
from noah.racing import Outcome, Race, run_race
from noah.runs import Run
from noah.stages import load_supernet, merged_logits
from noah.subnet import Subnet


def main() -> None:
    """Load the run's supernet, search three times, and print what each search looked at and found."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path, help="folder of a run whose supernet is trained")
    parser.add_argument("--candidates", type=int, default=200)
    parser.add_argument("--top", type=int, default=10)
    arguments = parser.parse_args()

    population = 20
    search = {
        "generations": arguments.candidates // population - 1,
        "population": population,
        "parents": arguments.top,
        "mutations": population // 2,
        "crossovers": population // 2,
        "top": arguments.top,
    }
    run = Run(arguments.run)
    materials = prepare(run.settings([Layer(source="benchmark", values={"search": search})]), Silent())
    settings = materials.settings
    supernet = load_supernet(run, materials)
    validation = materials.pixels(materials.dataset.validation, "validation", Silent())
    kept: dict[Subnet, Logits] = {}

    def evaluate(subnet: Subnet, race: Race) -> Outcome:
        if subnet not in kept:
            kept[subnet] = merged_logits(supernet, subnet, validation, materials)

        def logits_of(chosen: NDArray[np.int64]) -> Logits:
            return kept[subnet][chosen]

        return run_race(race, validation.labels, logits_of, settings.hardware.evaluation_batch_size)

    full: list[Candidate] = []
    for rule in ("off", "exact", "paired"):
        raced = list(
            evolve(
                materials.space,
                settings.budget.parameters,
                settings.search.model_copy(update={"racing": rule}),
                (settings.seed, 2),
                evaluate,
                len(validation),
            )
        )
        full = full or raced
        best, expected = ([c.subnet for c in rank(found)[: arguments.top]] for found in (raced, full))
        result = {
            "run": run.name,
            "rule": rule,
            "candidates": len(raced),
            "share_of_images": round(sum(c.score.total for c in raced) / (len(raced) * len(validation)), 4),
            "best_accuracy": rank(raced)[0].score.accuracy,
            "last_of_top_accuracy": rank(raced)[arguments.top - 1].score.accuracy,
            "same_top_in_order": best == expected,
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
