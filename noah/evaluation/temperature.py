"""The temperature that makes a network's probabilities mean what they say.

A trained network is usually surer than it is right. Dividing all of its logits by one number, fitted on images that it
was not trained on, mends most of that, and no predicted class changes. (Guo et al., 2017, arXiv 1706.04599.)

The fit maximizes the likelihood of the labels times a prior under which the temperature is as likely to lie between 2/3
and 3/2 as a normal variable is to lie within one standard deviation. A few dozen images that are all right would
otherwise ask for a temperature of zero, and thus for certainty, and a single confident mistake among a hundred for one
that is far too high.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from noah.evaluation.reliability import confidences, expected_calibration_error, reliability
from noah.files.record import Record

LOWEST, HIGHEST = 0.05, 20.0
"""The bounds of a temperature; beyond them, nothing is left to be told from labels."""
_PRIOR = math.log(1.5)
"""The standard deviation of the logarithm of the temperature before any image is seen."""
_PRECISION = 1e-6
"""Of the logarithm of the temperature."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Temperature(Record):
    """A fitted temperature, and what it changes on the images that it was fitted on.

    Attributes:
        value: What logits are divided by.
        images: How many images it was fitted on.
        fitted_on: What these images are, in words.
        cross_entropy: Of these images, before and after, in nats.
        calibration_error: Of these images, before and after, 0..1.
    """

    value: Positive
    images: Annotated[int, Field(ge=1)]
    fitted_on: str
    cross_entropy: tuple[float, float]
    calibration_error: tuple[Share, Share]


def fit_temperature(logits: NDArray[np.float32], labels: NDArray[np.int64], fitted_on: str) -> Temperature:
    """Fit the temperature of logits to labels.

    Args:
        logits: Of images that the network was not trained on, finite, (n, classes); n is at least 1.
        labels: Of each image, (n).
        fitted_on: What the images are, in words.
    """
    values = logits.astype(np.float64)

    def cost(logarithm: float) -> float:
        likelihood = len(labels) * _cross_entropy(values / math.exp(logarithm), labels)
        return likelihood + (logarithm / _PRIOR) ** 2 / 2

    found = minimize_scalar(
        cost, bounds=(math.log(LOWEST), math.log(HIGHEST)), method="bounded", options={"xatol": _PRECISION}
    )
    value = math.exp(float(found.x))
    cooled = at_temperature(logits, value)
    return Temperature(
        value,
        len(labels),
        fitted_on,
        (_cross_entropy(values, labels), _cross_entropy(values / value, labels)),
        (calibration_error(logits, labels), calibration_error(cooled, labels)),
    )


def at_temperature(logits: NDArray[np.float32], value: float) -> NDArray[np.float32]:
    """Divide logits (n, classes) by a temperature."""
    divided: NDArray[np.float32] = logits / np.float32(value)
    return divided


def calibration_error(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """The expected calibration error of logits (n, classes), 0..1."""
    return expected_calibration_error(reliability(confidences(logits), logits.argmax(axis=1) == labels))


def _cross_entropy(logits: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    return float(np.mean(logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]))
