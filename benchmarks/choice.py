"""Judges how good a choice of a subnet is, against a pool of subnets that were each trained on their own.

    python -m benchmarks.choice train --tasks digits,shapes_count --seeds 0,1
    python -m benchmarks.choice evidence --epochs 2,4,15
    python -m benchmarks.choice supernet
    python -m benchmarks.choice judge
    python -m benchmarks.choice pools
    python -m benchmarks.choice oracle

`train` fills docs/choice/pool: for each task and seed, random subnets within the budget and single modules of about the
same size, all trained alike in a cheap setting (56 px, 500 images, 15 epochs), tested, and written one per line.
It can be stopped and started again at any time. A few subnets are trained a second time with another seed, which shows
how reliable the pool itself is.

`evidence` trains every subnet of the pools on just the 400 training images, for a few epochs or for all, and measures
it on the 100 validation images. With all epochs that is what an oracle that trains every candidate would choose by.

`supernet` trains a supernet of the space on the training images, for as many epochs as a final training, and scores the
subnets by its weights on the validation images: by accuracy, by cross-entropy, by that at the temperature that fits
best, and by what `noah.nas.surrogate` makes of the cross-entropies of the pool's and of 60 other random subnets. Then
it trains one on each half of all images, in as many steps as one on both, and scores the subnets on the other half, so
that every image is evidence.

A method of choosing is anything that scores the subnets of a pool. `judge` takes the evidence of each number of epochs
as one, and reads docs/choice/scores, where each file holds one method's scores for one pool. It says how well the
choices did; that takes seconds, as nothing is trained. `pools` shows how the single modules do among random subnets,
and `oracle` what one gains over lora:8 who trains all of a pool, or its four best kinds, and sees a few test images.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau

from benchmarks.evidence import Evidence, evidence_file, find_evidence, score_by_supernet
from benchmarks.pool import DEVELOPMENT, FOLDER, SINGLES, Entry, fill_pool, is_random, read_pool, read_whole_pool
from noah.files.jsonl import read_lines

SEEN = (100, 200, 400)
"""How many test images an oracle sees; the validation images of the cheap setting are as many as the first."""
FEWEST_TASKS = 3
"""How many tasks a bootstrap needs; two tell nothing of the others."""
BY_ACCURACY, BY_ENTROPY = "supernet, accuracy", "supernet, cross-entropy"
_ORACLES = ("all subnets", "four plain ones")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one choice did.

    Attributes:
        percentile: Share of the pool's other random subnets that the chosen one beats, in percent; ties count half,
            and 50 is chance.
        regret: Percentage points of accuracy below the pool's best random subnet.
        tau: Kendall's tau-b between scores and accuracies of the random subnets.
        over_single: Percentage points of accuracy above each single module.
    """

    percentile: float
    regret: float
    tau: float
    over_single: Mapping[str, float]


def percentile(chosen: float, others: Sequence[float]) -> float:
    """Give the share of other accuracies that an accuracy beats, in percent; equal ones count half.

    Raises:
        ValueError: If there are no others.
    """
    if not others:
        raise ValueError("a percentile needs others to compare with")
    values = np.asarray(others)
    return 100 * float(np.mean((values < chosen) + 0.5 * (values == chosen)))


def judge(scores: Mapping[str, float], pool: Sequence[Entry]) -> Verdict:
    """Judge the choice of the highest score among a pool's random subnets; of equal scores, one is chosen by lot.

    Args:
        scores: Score of each entry by name; single modules are ignored.
        pool: First trainings of all entries.

    Raises:
        ValueError: If a random subnet has no score, or there are fewer than two.
    """
    drawn = [entry for entry in pool if is_random(entry) and entry.repeat == 0]
    singles = [entry for entry in pool if not is_random(entry) and entry.repeat == 0]
    if missing := [entry.name for entry in drawn if entry.name not in scores]:
        raise ValueError(f"no score for {', '.join(missing)}")
    given = np.array([scores[entry.name] for entry in drawn])
    accuracies = np.array([entry.accuracy for entry in drawn])
    highest = np.flatnonzero(given == given.max())
    accuracy = float(accuracies[highest].mean())
    return Verdict(
        float(np.mean([percentile(accuracies[place], np.delete(accuracies, place).tolist()) for place in highest])),
        float(accuracies.max()) - accuracy,
        float(kendalltau(given, accuracies).statistic),
        {entry.name: accuracy - entry.accuracy for entry in singles},
    )


def break_ties(scores: Mapping[str, float], by: Mapping[str, float]) -> dict[str, float]:
    """Rank by scores, and where these are equal by others, as a search that goes by accuracy does by cross-entropy."""
    pairs = {name: (scores[name], by[name]) for name in scores}
    places = {pair: float(place) for place, pair in enumerate(sorted(set(pairs.values())))}
    return {name: places[pair] for name, pair in pairs.items()}


def ceiling_of_test(pool: Sequence[Entry], rounds: int = 200, seed: int = 0) -> float:
    """Find the percentile of a choice by half of the test images, judged by the other half: the best they allow."""
    drawn = [entry for entry in pool if is_random(entry) and entry.repeat == 0]
    correct = np.stack([entry.correct for entry in drawn])
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        order = rng.permutation(correct.shape[1])
        first, second = np.array_split(order, 2)
        place = int(np.argmax(correct[:, first].mean(axis=1)))
        accuracies = correct[:, second].mean(axis=1)
        found.append(percentile(accuracies[place], np.delete(accuracies, place).tolist()))
    return float(np.mean(found))


def ceiling_of_training(pool: Sequence[Entry]) -> float | None:
    """Find the percentile of a choice by a second training of the same subnets; None if fewer than two have one."""
    again = {entry.name: entry.accuracy for entry in pool if entry.repeat == 1}
    first = [entry for entry in pool if entry.repeat == 0 and entry.name in again]
    if len(first) < 2:
        return None
    return judge(again, first).percentile


def oracle_lead(pool: Sequence[Entry], images: int, fixed: str, rounds: int = 400, seed: int = 0) -> float:
    """Find what an oracle gains that trains every subnet of a pool, and sees some images that nothing was trained on.

    So many test images are drawn; the oracle takes the subnet that is right on most of them, by lot among equal ones,
    and is judged by the other test images.

    Args:
        pool: First trainings; all are candidates.
        images: How many test images the oracle sees.
        fixed: The entry that it is compared with.
        rounds: How often images are drawn.
        seed: Of the draws.

    Returns:
        Percentage points of accuracy above the fixed entry, on average over the rounds.
    """
    correct = np.stack([entry.correct for entry in pool])
    place = [entry.name for entry in pool].index(fixed)
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(rounds):
        order = rng.permutation(correct.shape[1])
        right = correct[:, order[:images]].sum(axis=1)
        chosen = rng.choice(np.flatnonzero(right == right.max()))
        others = correct[:, order[images:]].mean(axis=1)
        found.append(100 * float(others[chosen] - others[place]))
    return float(np.mean(found))


def interval(values: Mapping[str, Sequence[float]], rounds: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """Compute the mean over tasks, and its 95 % interval by a bootstrap over tasks and, within each, over seeds.

    Args:
        values: For each task, a value for each seed.
        rounds: Number of bootstrap samples.
        seed: Seed of the bootstrap.

    Returns:
        Mean, lower and upper end.
    """
    tasks = [np.asarray(of_task, dtype=float) for of_task in values.values()]
    rng = np.random.default_rng(seed)
    means = [
        np.mean(
            [rng.choice(tasks[index], len(tasks[index])).mean() for index in rng.integers(len(tasks), size=len(tasks))]
        )
        for _ in range(rounds)
    ]
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.mean([of_task.mean() for of_task in tasks])), float(low), float(high)


def told_interval(values: Mapping[str, Sequence[float]], form: str) -> tuple[str, str]:
    """Tell the mean over tasks and its interval, in a number format; no interval of fewer than three tasks."""
    if not values:
        return "", ""
    mean, low, high = (format(value, form) for value in interval(values))
    return mean, f"{low} to {high}" if len(values) >= FEWEST_TASKS else ""


def scores_of_evidence(evidence: Sequence[Evidence], pool: Sequence[Entry]) -> dict[str, dict[str, float]]:
    """Score subnets by trainings of their own: for each number of epochs that all have, by each measure."""
    names = {entry.name for entry in pool if is_random(entry)}
    found = {}
    for epochs in sorted({each.epochs for each in evidence}):
        of_epochs = [each for each in evidence if each.epochs == epochs]
        if names <= {each.name for each in of_epochs}:
            told = f"own training, {epochs} epochs"
            entropies = {each.name: -each.cross_entropy for each in of_epochs}
            found[f"{told}, cross-entropy"] = entropies
            found[f"{told}, accuracy"] = break_ties({each.name: each.accuracy for each in of_epochs}, entropies)
            calibrated = {each.name: -each.calibrated for each in of_epochs if each.calibrated is not None}
            if names <= calibrated.keys():
                found[f"{told}, calibrated cross-entropy"] = calibrated
    return found


def report(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of every method that has scores, over the pools that exist."""
    pools = {(task, seed): pool for task in tasks for seed in seeds if (pool := read_pool(folder, task, seed))}
    methods: dict[str, dict[tuple[str, int], Mapping[str, float]]] = {}
    for cell, pool in pools.items():
        evidence = [Evidence(**record) for record in read_lines(evidence_file(folder, *cell))]
        for name, of_cell in scores_of_evidence(evidence, pool).items():
            methods.setdefault(name, {})[cell] = of_cell
    for path in sorted((folder / "scores").glob("*.json")):
        stored = json.loads(path.read_text(encoding="utf-8"))
        if (cell := (stored["task"], stored["seed"])) in pools:
            methods.setdefault(stored["method"], {})[cell] = stored["scores"]
    entropies = methods.get(BY_ENTROPY, {})
    for cell in methods.get(BY_ACCURACY, {}).keys() & entropies.keys():
        accuracies = methods[BY_ACCURACY][cell]
        methods[BY_ACCURACY] = {**methods[BY_ACCURACY], cell: break_ties(accuracies, entropies[cell])}
    lines = ["| method | pools | percentile | 95 % | regret | tau |", "|---|---:|---:|---|---:|---:|"]
    for name, of_cells in methods.items():
        verdicts = {cell: judge(scores, pools[cell]) for cell, scores in of_cells.items()}
        by_task: dict[str, list[float]] = {}
        for (task, _), verdict in verdicts.items():
            by_task.setdefault(task, []).append(verdict.percentile)
        mean, ends = told_interval(by_task, ".0f")
        regret, tau = (float(np.mean([getattr(v, key) for v in verdicts.values()])) for key in ("regret", "tau"))
        lines.append(f"| {name} | {len(verdicts)} | {mean} | {ends} | {regret:.1f} | {tau:.2f} |")
    halves = [ceiling_of_test(pool) for pool in pools.values() if sum(map(is_random, pool)) > 1]
    again = [value for pool in pools.values() if (value := ceiling_of_training(pool)) is not None]
    for what, values in (("half of the test images", halves), ("a second training", again)):
        if values:
            lines.append(f"| ceiling: {what} | {len(values)} | {np.mean(values):.0f} | | | |")
    return "\n".join(lines)


def pools_table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of the plain subnets, with their percentiles among the random ones, and of the range of these."""
    lines = [f"| task | seed | {' | '.join(SINGLES)} | random, mean | best | worst |"]
    lines.append("|---|---:|" + "---:|" * (len(SINGLES) + 3))
    rows, places = [], []
    for task, seed in ((task, seed) for task in tasks for seed in seeds):
        pool = read_whole_pool(folder, task, seed)
        if not pool:
            continue
        random = [entry.accuracy for entry in pool if is_random(entry)]
        plain = {entry.name: entry.accuracy for entry in pool if not is_random(entry)}
        rows.append([*(plain[name] for name in SINGLES), float(np.mean(random)), max(random), min(random)])
        places.append([percentile(plain[name], random) for name in SINGLES])
        lines.append(f"| {task} | {seed} | {' | '.join(_placed(rows[-1], places[-1]))} |")
    if rows:
        means = [np.mean(columns, axis=0).tolist() for columns in (rows, places)]
        lines.append(f"| mean | | {' | '.join(_placed(*means))} |")
    return "\n".join(lines)


def _placed(values: Sequence[float], places: Sequence[float]) -> list[str]:
    """Accuracies, the first of them with a percentile in brackets."""
    return [
        f"{value:.1f} ({place:.0f})" if place is not None else f"{value:.1f}"
        for value, place in zip_longest(values, places)
    ]


def oracle_table(folder: Path, tasks: Sequence[str], seeds: Sequence[int]) -> str:
    """Make a table of what oracles gain over the first of the single modules: a row a task and seed, and their mean."""
    fixed, plain = SINGLES[0], SINGLES[:4]
    lines = [f"| task | seed | {' | '.join(f'{who}, {n} images' for who in _ORACLES for n in SEEN)} |"]
    lines.append("|---|---:|" + "---:|" * (len(_ORACLES) * len(SEEN)))
    rows: list[list[float]] = []
    for task, seed in ((task, seed) for task in tasks for seed in seeds):
        pool = read_whole_pool(folder, task, seed)
        if not pool:
            continue
        some = [entry for entry in pool if entry.name in plain]
        rows.append([oracle_lead(each, images, fixed) for each in (pool, some) for images in SEEN])
        lines.append(f"| {task} | {seed} | {' | '.join(f'{lead:+.1f}' for lead in rows[-1])} |")
    if rows:
        lines.append(f"| mean | | {' | '.join(f'{lead:+.1f}' for lead in np.mean(rows, axis=0))} |")
    return "\n".join(lines)


def main() -> None:
    """Train the missing entries, or judge the existing scores."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("do", choices=("train", "evidence", "supernet", *_TABLES))
    parser.add_argument("--tasks", default=",".join(DEVELOPMENT))
    parser.add_argument("--seeds", default="0,1")
    parser.add_argument("--epochs", default="2,4,15", help="of the trainings without the validation images")
    parser.add_argument("--folder", type=Path, default=FOLDER)
    arguments = parser.parse_args()
    tasks, seeds = arguments.tasks.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    if arguments.do in _TABLES:
        print(_TABLES[arguments.do](arguments.folder, tasks, seeds))
        return
    for seed in seeds:
        for task in tasks:
            if arguments.do == "train":
                fill_pool(arguments.folder, task, seed)
            elif arguments.do == "supernet":
                score_by_supernet(arguments.folder, task, seed)
            else:
                find_evidence(arguments.folder, task, seed, [int(count) for count in arguments.epochs.split(",")])


_TABLES = {"judge": report, "pools": pools_table, "oracle": oracle_table}

if __name__ == "__main__":
    main()
