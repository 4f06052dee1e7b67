"""A model of how good subnets are, which pools what all that were measured say about each of them.

One measurement on a few hundred images says little about a subnet, and similar subnets are about equally good. A
Gaussian process (Rasmussen and Williams, 2006) over a few features of the subnets therefore takes the noise for noise:
its posterior mean at a subnet draws on all measurements, most on those of similar ones.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from noah.space.subnet import Subnet

STRETCHES = 3
"""Into how many stretches of blocks, from the first to the last, features divide the depth."""
FEWEST = 8
"""With fewer measurements there is nothing to learn from."""


@dataclass(frozen=True, slots=True)
class Posterior:
    """What a model says of some subnets.

    Attributes:
        mean: Of the value of each, (n,).
        error: Its standard deviation, (n,), without that of a measurement.
    """

    mean: NDArray[np.float64]
    error: NDArray[np.float64]


def features(subnets: Sequence[Subnet]) -> NDArray[np.float64]:
    """Describe subnets: for each kind that any has, the mean square root of its widths in each stretch of blocks.

    The square root, because the tenth rank adds less than the first; whether a kind is there at all weighs most.

    Returns:
        (n, kinds x `STRETCHES`), with a mean of 0 and a standard deviation of 1 where a feature varies.
    """
    kinds = sorted({kind for subnet in subnets for kind in subnet.kinds})
    if not kinds:
        return np.zeros((len(subnets), 0))
    widths = np.array([[subnet.widths(kind) for kind in kinds] for subnet in subnets], np.float64)
    stretches = np.array_split(np.sqrt(widths), min(STRETCHES, widths.shape[-1]), axis=-1)
    found = np.concatenate([stretch.mean(axis=-1) for stretch in stretches], axis=1)
    spread = found.std(axis=0)
    scaled: NDArray[np.float64] = (found - found.mean(axis=0)) / np.where(spread > 0, spread, 1)
    return scaled


def fit_posterior(subnets: Sequence[Subnet], values: Sequence[float], seed: int = 0) -> Posterior:
    """Fit a Gaussian process to measurements, and give what it says of the same subnets.

    Its length, signal and noise are those of the largest marginal likelihood. The length is at least the distance of
    two subnets that differ by a standard deviation in every feature: with a shorter one, noise would pass for signal.

    Args:
        subnets: What was measured.
        values: What came out, such as cross-entropies; all finite.
        seed: Of the optimizer's further starting points.

    Raises:
        ValueError: If there are fewer than `FEWEST`, or a value is not finite.
    """
    if len(subnets) < FEWEST or not np.isfinite(values).all():
        raise ValueError(f"{len(subnets)} measurements are too few, or some are not finite")
    # Here, because they take a second to load.
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

    known, target = features(subnets), np.asarray(values, np.float64)
    known = known if known.shape[1] else np.zeros((len(subnets), 1))
    shift, scale = target.mean(), target.std() or 1.0
    length = np.sqrt(known.shape[1])
    kernel = ConstantKernel(0.5, (1e-3, 10)) * RBF(2 * length, (length, 20 * length)) + WhiteKernel(0.5, (1e-3, 2))
    model = GaussianProcessRegressor(kernel, n_restarts_optimizer=3, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a length at its bound says that nothing depends on it
        model.fit(known, (target - shift) / scale)
    mean, error = model.predict(known, return_std=True)
    noise = float(model.kernel_.k2.noise_level)
    return Posterior(shift + scale * mean, scale * np.sqrt(np.maximum(error**2 - noise, 0.0)))
