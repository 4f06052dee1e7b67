"""Measures racing and samplers: searches of 200 candidates that share a supernet and its answers.

    python -m benchmarks.search --datasets digits,shapes_count --seeds 0,1,2,3,4 --shard 1/2

For each dataset and seed, a supernet is trained once, as `noah search --recipe pocket` does. On it run

1. a search that shows every candidate every image, and the same search with exact and with paired racing;
2. the published search, and noah's search with exact racing, which stops when it has evaluated as many images.

A subnet's answer to an image is computed once and kept in memory, so all searches see the same answers. Each dataset
and seed gives one file; existing files are skipped, so a stopped measurement goes on.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray

from benchmarks.supernets import measure_cells, supernet_run
from noah.evaluation.score import Logits
from noah.model.supernet import Supernet
from noah.nas.candidate import Candidate, rank
from noah.nas.candidate_evaluation import Ask, candidate_logits, showing
from noah.nas.evolution import needed_exactly, winner
from noah.nas.loop import work
from noah.nas.race import Task
from noah.nas.racing import Look, Rules
from noah.nas.study import SearchStudy
from noah.nas.worker import this_worker
from noah.prepare.context import Materials
from noah.prepare.run_budget import run_budget
from noah.progress import Silent
from noah.runs.folder import Run
from noah.space.subnet import Subnet

POPULATION, TOP = 50, 10
"""Candidates per generation, and how many of the best have to be the same."""


def main() -> None:
    """Measure the datasets and seeds of this shard that have no file yet."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--candidates", type=int, default=200)
    measure_cells(parser, seeds="0,1,2,3,4", prefix="", measure=measure_cell)


def measure_cell(dataset: str, seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all searches of one dataset and seed."""
    trained = supernet_run(arguments.runs, dataset, seed, threads=arguments.threads)
    return measure(*trained, arguments.candidates)


def measure(run: Run, materials: Materials, supernet: Supernet, candidates: int) -> dict[str, Any]:
    """Run all searches on one supernet, and give what they evaluated and found."""
    budget = run_budget(run, materials)
    validation = materials.pixels(materials.dataset.validation, "validation", Silent())
    preprocessing, hardware = materials.backbone.preprocessing, materials.hardware
    ask = remembering(candidate_logits(supernet, validation, preprocessing, hardware, 64))
    show = showing(ask, validation.labels)
    settings = materials.settings.search.model_copy(
        update={
            "generations": candidates // POPULATION - 1,
            "population": POPULATION,
            "parents": TOP,
            "mutations": POPULATION // 2,
            "crossovers": POPULATION // 2,
            "top": TOP,
        }
    )

    def search(limit: int | None = None, **changes: Any) -> tuple[list[Candidate], int]:
        chosen = settings.model_copy(update=changes)
        rule = "off" if chosen.sampler == "published" else chosen.racing
        rules = Rules(rule, len(validation), needed_exactly(chosen), smallest_batch=8, batch_size=64)
        seed = (materials.settings.seed, 2)
        task = Task(materials.space, budget, chosen, seed, rules, cost=lambda _: 0)
        study = SearchStudy(optuna.storages.InMemoryStorage(), "benchmark", materials.space, chosen)
        looked = 0

        def counted(subnet: Subnet, images: NDArray[np.int64]) -> Look:
            nonlocal looked
            looked += len(images)
            return show(subnet, images)

        found = work(study, task, counted, this_worker(), out_of_time=lambda: limit is not None and looked >= limit)
        return found, looked

    whole, all_images = search(racing="off")
    raced = {rule: search(racing=rule) for rule in ("exact", "paired")}
    published, published_images = search(sampler="published")
    ours, our_images = search(limit=published_images, generations=10 * candidates // POPULATION)
    return {
        "dataset": materials.dataset.name,
        "seed": materials.settings.seed,
        "validation": len(validation),
        "candidates": len(whole),
        "accuracy_of_last_of_top": rank(whole)[TOP - 1].score.accuracy,
        **{
            rule: {"share_of_images": images / all_images, "same_top_in_order": top_of(found) == top_of(whole)}
            for rule, (found, images) in raced.items()
        },
        "published": found_by(
            winner(published, settings.model_copy(update={"sampler": "published"})), len(published), published_images
        ),
        "evolution": found_by(rank(ours)[0], len(ours), our_images),
    }


def remembering(ask: Ask) -> Ask:
    """Wrap `ask` so that a subnet is asked for each image only once."""
    known: dict[Subnet, dict[int, NDArray[np.float32]]] = {}

    def asked(subnet: Subnet, images: NDArray[np.int64]) -> Logits:
        answers = known.setdefault(subnet, {})
        missing = np.array([image for image in images.tolist() if image not in answers], dtype=np.int64)
        if len(missing):
            answers |= dict(zip(missing.tolist(), ask(subnet, missing), strict=True))
        return np.stack([answers[image] for image in images.tolist()])

    return asked


def top_of(found: Sequence[Candidate]) -> list[Subnet]:
    """List the best `TOP` subnets of a search, in order."""
    return [candidate.subnet for candidate in rank(found)[:TOP]]


def found_by(best: Candidate, candidates: int, images: int) -> dict[str, Any]:
    """Describe the winner of a search, with the numbers of finished candidates and of evaluated images."""
    return {"candidates": candidates, "images": images, **dataclasses.asdict(best.score)}


if __name__ == "__main__":
    main()
