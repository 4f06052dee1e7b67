"""How long it takes to count the subnets inside a budget, and to draw one of them.

    python -m benchmarks.counting [--draws 300]

In the space of every kind of module with depths 0, 3, 6, 9 and 12 of 12 blocks of a ViT-S. Prints one line of JSON for
each budget: the number of subnets, the seconds for counting them and for a first draw, which fills the tables, and the
median and mean of the others in milliseconds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import numpy as np

from noah.space.budget import parameter_budget
from noah.space.operators import sample
from noah.space.search_space import PRESETS, make_space

BUDGETS = (160_000, 640_000)
WIDTH = 384


def main() -> None:
    """Count and draw within each budget."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--draws", type=int, default=300)
    arguments = parser.parse_args()
    space = make_space(12, WIDTH, PRESETS["full"], (0, 3, 6, 9, 12))
    for limit in BUDGETS:
        budget, rng = parameter_budget(limit, WIDTH), np.random.default_rng(0)
        began = time.perf_counter()
        number = space.size(budget)
        counting = time.perf_counter() - began
        seconds = []
        for _ in range(1 + arguments.draws):
            began = time.perf_counter()
            sample(space, rng, budget)
            seconds.append(time.perf_counter() - began)
        first, *others = seconds
        print(
            json.dumps(
                {
                    "budget": limit,
                    "subnets": f"{float(number):.2e}",
                    "counting s": round(counting, 2),
                    "first draw s": round(first, 2),
                    "median ms": round(1e3 * statistics.median(others), 2),
                    "mean ms": round(1e3 * statistics.mean(others), 2),
                }
            )
        )


if __name__ == "__main__":
    main()
