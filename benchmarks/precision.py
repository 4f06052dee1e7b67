"""What bfloat16 changes: the ranking of a search's candidates, and the accuracy of its retrained winner.

    python -m benchmarks.precision --datasets shapes_count --seeds 0,1,2 --shard 1/2

For each dataset and seed, a search of 100 candidates runs in float32 on a supernet of `benchmarks.search`. The same
candidates are then evaluated in bfloat16, and the winner is trained and tested in both. Each dataset and seed gives one
file; existing files are skipped, and stopped trainings go on.
"""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

import optuna
from scipy.stats import kendalltau

from benchmarks.supernets import measure_cells, pocket_settings, supernet_run
from noah.evaluation.accuracy import Score
from noah.evaluation.score import score
from noah.files.atomic import write_json
from noah.hardware.device import Precision
from noah.model.supernet import Supernet
from noah.nas.candidate import Candidate, rank
from noah.nas.candidate_evaluation import candidate_logits, showing
from noah.nas.evolution import needed_exactly
from noah.nas.loop import work
from noah.nas.race import Task
from noah.nas.racing import Rules
from noah.nas.study import SearchStudy
from noah.nas.worker import this_worker
from noah.prepare.context import Materials
from noah.prepare.new_run import start_run
from noah.prepare.run_budget import run_budget
from noah.progress import Silent
from noah.runs.folder import Run, open_run
from noah.space.subnet import Subnet
from noah.stages.merged_logits import merged_logits
from noah.stages.retrain_stage import evaluate_test, retrain

GENERATIONS, POPULATION, TOP = 1, 50, 10


def main() -> None:
    """Measure the datasets and seeds of this shard that have no file yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    measure_cells(parser, seeds="0,1,2", prefix="precision-", measure=measure)


def measure(dataset: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run one search, evaluate its candidates in both precisions, and train its winner in both."""
    run, materials, supernet = supernet_run(arguments.runs, dataset, seed, threads=arguments.threads)
    exact = in_precision(materials, "fp32")
    found = rank(search(run, exact, supernet))
    scores = [candidate.score for candidate in found]
    rounded = score_all(supernet, [candidate.subnet for candidate in found], materials)
    order = sorted(range(len(found)), key=lambda place: (-rounded[place].correct, rounded[place].cross_entropy))
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    tests = {each: train_alone(run, found[0].subnet, each, arguments.threads) for each in precisions}
    return {
        "dataset": dataset,
        "seed": seed,
        "candidates": len(found),
        "top": TOP,
        "same_of_top": len(set(order[:TOP]) & set(range(TOP))),
        "same_winner": order[0] == 0,
        "tau_of_cross_entropy": float(
            kendalltau([s.cross_entropy for s in scores], [s.cross_entropy for s in rounded]).statistic
        ),
        "largest_difference_of_correct": max(abs(a.correct - b.correct) for a, b in zip(scores, rounded, strict=True)),
        "validation": scores[0].total,
        "correct_of_tests": {each: test["correct"] for each, test in tests.items()},
        "test_images": tests["fp32"]["total"],
    }


def in_precision(materials: Materials, precision: Precision) -> Materials:
    """Give the same materials with another precision."""
    return dataclasses.replace(materials, hardware=dataclasses.replace(materials.hardware, precision=precision))


def search(run: Run, materials: Materials, supernet: Supernet) -> list[Candidate]:
    """Run a search that shows every candidate every image, and give its candidates."""
    validation = materials.pixels(materials.dataset.validation, "validation", Silent())
    ask = candidate_logits(supernet, validation, materials.backbone.preprocessing, materials.hardware, 64)
    settings = materials.settings.search.model_copy(
        update={
            "generations": GENERATIONS,
            "population": POPULATION,
            "parents": TOP,
            "mutations": POPULATION // 2,
            "crossovers": POPULATION // 2,
            "top": TOP,
            "racing": "off",
        }
    )
    rules = Rules("off", len(validation), needed_exactly(settings), smallest_batch=64, batch_size=64)
    task = Task(
        materials.space, run_budget(run, materials), settings, (materials.settings.seed, 2), rules, cost=lambda _: 0
    )
    study = SearchStudy(optuna.storages.InMemoryStorage(), "benchmark", materials.space, settings)
    return work(study, task, showing(ask, validation.labels), this_worker())


def score_all(supernet: Supernet, subnets: list[Subnet], materials: Materials) -> list[Score]:
    """Measure the validation scores of the subnets."""
    validation = materials.pixels(materials.dataset.validation, "validation", Silent())
    return [score(merged_logits(supernet, subnet, validation, materials), validation.labels) for subnet in subnets]


def train_alone(searched: Run, subnet: Subnet, precision: Precision, threads: int) -> dict[str, Any]:
    """Train and test that subnet in a run of its own, in one precision, and give the test result."""
    name = f"{searched.folder.name}-winner-{precision}"
    runs, dataset = searched.folder.parent.parent, searched.folder.parent.name
    if (runs / dataset / name / "eval" / "test.json").exists():
        tested: dict[str, Any] = open_run(runs, f"{dataset}/{name}").read_json("eval", "test.json")
        return tested
    seed = searched.description()["settings"]["seed"]
    settings, origins = pocket_settings(
        dataset, {"seed": seed, "hardware": {"precision": precision, "threads": threads}}
    )
    spelled = searched.path("winner.json")
    write_json(spelled, subnet.to_json())
    run, materials = start_run(runs, settings, origins, Silent(), name=name, subnet=str(spelled))
    retrain(run, materials, Silent())
    return evaluate_test(run, materials, Silent())


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
