"""What one seed draws of the published kinds is what it drew when they were the only ones.

tests/data/published_draws.json was written by that version: subnets as their widths of prompt, LoRA and adapter.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noah.nas.published_search import mutate_depths, swap_modules
from noah.space.budget import UNBOUNDED, parameter_budget
from noah.space.operators import cross_over, mutate, sample, shrink
from noah.space.search_space import PRESETS, make_space
from noah.space.subnet import Subnet
from noah.training.subnet_draws import fair_subnet
from tests.noah.nas.test_evolution import search

STORED = json.loads((Path(__file__).parents[2] / "data" / "published_draws.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", STORED["draws"], ids=lambda case: f"{case['preset']} {case['placement']}")
def test_draws_and_changes(case: dict[str, Any]) -> None:
    space = make_space(12, case["embed_dim"], PRESETS[case["preset"]], None, case["placement"])
    limit = case["limit"]
    budget = UNBOUNDED if limit is None else parameter_budget(limit, case["embed_dim"])
    rng = np.random.default_rng(7)
    first, second = sample(space, rng, budget), sample(space, rng, budget)
    mutated = mutate(space, first, rng, gene_probability=0.3, depth_probability=0.3, budget=budget)
    found = [
        first,
        second,
        mutated,
        cross_over(space, second, mutated, rng, budget),
        cross_over(space, second, mutated, rng, budget, module_probability=1.0),
        shrink(space, sample(space, rng), rng, budget),
        mutate_depths(space, first, rng, 0.5),
        swap_modules(first, second, rng),
        fair_subnet(space, (0, 1), 5),
    ]
    assert found == [Subnet(*widths) for widths in case["subnets"]]
    assert rng.random() == case["next"]


@pytest.mark.parametrize("stored", STORED["searches"], ids=lambda stored: f"seed {stored['seed'][0]}")
def test_candidates_of_a_search(stored: dict[str, Any]) -> None:
    found = [(c.subnet, c.parameters, c.score.correct, c.score.cross_entropy) for c in search(tuple(stored["seed"]))]
    assert found == [(Subnet(*widths), *others) for widths, *others in stored["candidates"]]
