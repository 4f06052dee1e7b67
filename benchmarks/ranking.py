"""Does a supernet rank subnets as their own trainings do? Kendall's tau for three ways of training the supernet.

    python -m benchmarks.ranking --datasets digits,shapes_count --seeds 0 --shard 1/2

For each dataset and seed, random subnets within the budget are each trained on their own on the training images, and
measured on the validation images. Supernets whose steps draw their subnets in different ways score the same subnets. A
step of the sandwich rule costs four times as much as one of the others, so the rule is also measured with a quarter of
the epochs; since it trains the largest subnet in every step, it is measured with the paper's learning rate as well as
the recipe's. Each dataset and seed gives one file; existing files are skipped, and stopped trainings go on.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import kendalltau

from benchmarks.supernets import measure_cells, supernet_run
from noah.evaluation.accuracy import Score
from noah.evaluation.score import score
from noah.model.supernet import Supernet
from noah.nas.candidate import Candidate
from noah.nas.outcome import Outcome
from noah.prepare.context import Materials
from noah.prepare.run_budget import run_budget
from noah.progress import Silent
from noah.runs.folder import Run
from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.stages.rerank import rerank

WAYS = (
    ("uniform", 20, None),
    ("fair", 20, None),
    ("sandwich", 20, None),
    ("sandwich", 5, None),
    ("uniform", 20, 5e-4),
    ("sandwich", 5, 5e-4),
)
"""How the subnets of a step are drawn, for how many epochs, and the learning rate if it is not the recipe's."""


def main() -> None:
    """Measure the datasets and seeds of this shard that have no file yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--subnets", type=int, default=24)
    parser.add_argument("--epochs", type=int, default=10, help="epochs of each subnet's own training")
    measure_cells(parser, seeds="0", prefix="ranking-", measure=measure)


def measure(dataset: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the subnets' own scores and those by each supernet, and how well they agree."""
    subnets: list[Subnet] = []
    own: list[Score] = []
    ways = []
    for sampling, epochs, learning_rate in WAYS:
        run, materials, supernet = supernet_run(
            arguments.runs,
            dataset,
            seed,
            sampling=sampling,
            epochs=epochs,
            learning_rate=learning_rate,
            threads=arguments.threads,
        )
        if not subnets:
            subnets = draw(run, materials, arguments.subnets)
            own = train_each(run, materials, subnets, arguments.epochs)
        scores = score_by(supernet, subnets, materials)
        ways.append(
            {
                "sampling": sampling,
                "epochs": epochs,
                "learning_rate": materials.settings.supernet.learning_rate,
                "tau_of_accuracy": tau([s.accuracy for s in scores], [s.accuracy for s in own]),
                "tau_of_cross_entropy": tau([s.cross_entropy for s in scores], [s.cross_entropy for s in own]),
                "mean_accuracy": float(np.mean([s.accuracy for s in scores])),
                "scores": [s.to_json() for s in scores],
            }
        )
    return {
        "dataset": dataset,
        "seed": seed,
        "epochs_of_each": arguments.epochs,
        "subnets": [subnet.to_json() for subnet in subnets],
        "own": [s.to_json() for s in own],
        "ways": ways,
    }


def draw(run: Run, materials: Materials, count: int) -> list[Subnet]:
    """Draw `count` different random subnets within the budget."""
    rng = np.random.default_rng([materials.settings.seed, 9])
    drawn: dict[Subnet, None] = {}
    while len(drawn) < count:
        drawn[sample(materials.space, rng, run_budget(run, materials))] = None
    return list(drawn)


def train_each(run: Run, materials: Materials, subnets: Sequence[Subnet], epochs: int) -> list[Score]:
    """Train each subnet on its own, and give their validation scores."""
    nothing = Outcome(Score(0, 1, 0.0), (0,))
    candidates = [Candidate(index, 0, "random", subnet, 0, nothing) for index, subnet in enumerate(subnets)]
    found = rerank(run, materials, candidates, len(candidates), epochs, Silent())
    return [reranked.score for reranked in sorted(found, key=lambda reranked: reranked.index)]


def score_by(supernet: Supernet, subnets: Sequence[Subnet], materials: Materials) -> list[Score]:
    """Measure the validation scores of the subnets with a supernet's weights."""
    validation = materials.pixels(materials.dataset.validation, "validation", Silent())
    return [score(merged_logits(supernet, subnet, validation, materials), validation.labels) for subnet in subnets]


def tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Compute Kendall's tau-b, which accounts for ties."""
    return float(kendalltau(first, second).statistic)


if __name__ == "__main__":
    main()
