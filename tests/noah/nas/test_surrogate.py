from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from noah.nas.surrogate import FEWEST, STRETCHES, features, fit_posterior
from noah.space.operators import sample
from noah.space.search_space import PRESETS, make_space
from noah.space.subnet import Subnet

SPACE = make_space(12, 384, PRESETS["paper"])


def drawn(count: int, seed: int = 0) -> list[Subnet]:
    rng = np.random.default_rng(seed)
    return [sample(SPACE, rng) for _ in range(count)]


def truth(subnet: Subnet) -> float:
    """Prompts do harm, LoRA in late blocks helps."""
    return 0.02 * sum(subnet.prompt) / 12 - 0.05 * sum(np.sqrt(subnet.lora[6:])) / 6


@pytest.mark.parametrize(("noise", "gain"), [(0.03, 0.0), (0.1, 0.1)])
def test_what_all_say_is_nearer_to_the_truth_than_what_each_says(noise: float, gain: float) -> None:
    gains = []
    for seed in range(6):
        subnets, rng = drawn(40, seed), np.random.default_rng(seed)
        right = np.array([truth(subnet) for subnet in subnets])
        measured = right + noise * rng.normal(size=len(right))
        pooled = fit_posterior(subnets, measured.tolist()).mean
        gains.append(spearmanr(pooled, right).statistic - spearmanr(measured, right).statistic)
    assert np.mean(gains) > gain


def test_where_nothing_depends_on_the_subnet_the_posterior_is_about_the_mean() -> None:
    rng = np.random.default_rng(0)
    values = 0.5 + 0.1 * rng.normal(size=60)
    posterior = fit_posterior(drawn(60), values.tolist())
    assert posterior.mean.std() < 0.6 * values.std()
    assert posterior.mean.mean() == pytest.approx(0.5, abs=0.05)
    assert (posterior.error >= 0).all()
    assert (posterior.error < 0.1).all()


def test_exact_values_of_a_smooth_function_come_back() -> None:
    subnets = drawn(50)
    right = [truth(subnet) for subnet in subnets]
    posterior = fit_posterior(subnets, right)
    assert np.abs(posterior.mean - right).max() < 0.3 * np.std(right)


def test_the_same_measurements_give_the_same() -> None:
    subnets = drawn(20)
    values = [truth(subnet) for subnet in subnets]
    assert np.array_equal(fit_posterior(subnets, values).mean, fit_posterior(subnets, values).mean)


def test_features_are_of_the_kinds_that_there_are() -> None:
    subnets = [Subnet.uniform(4, bias=1), Subnet.uniform(4, lora=4), Subnet.uniform(4)]
    found = features(subnets)
    assert found.shape == (3, 2 * STRETCHES)
    assert found.mean(axis=0) == pytest.approx(0)
    assert found.std(axis=0) == pytest.approx(1)
    assert features([Subnet.uniform(4)] * 3).shape == (3, 0)


def test_subnets_that_are_all_alike_are_all_equally_good() -> None:
    posterior = fit_posterior([Subnet.uniform(4)] * FEWEST, list(range(FEWEST)))
    assert np.ptp(posterior.mean) < 1e-6


@pytest.mark.parametrize("values", [[1.0] * (FEWEST - 1), [np.inf] + [1.0] * FEWEST])
def test_too_few_or_infinite_values_are_refused(values: list[float]) -> None:
    with pytest.raises(ValueError, match="too few, or some are not finite"):
        fit_posterior(drawn(len(values)), values)
