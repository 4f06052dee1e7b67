from __future__ import annotations

from itertools import product
from typing import get_args

import numpy as np

from export.artifact.records import Precision, Values
from export.artifact.tolerances import TOLERANCES

UNIT = {"fp32": 2**-24, "fp16": 2**-11, "bf16": 2**-8, "int8": 2**-8, "int8-dynamic": 2**-8}
"""Half a unit in the last place: what one rounding does; in 8 bits half a step of a range from -1 to 1."""


def test_every_precision_has_tolerances_above_its_rounding_and_below_a_class() -> None:
    assert set(TOLERANCES) == set(product(get_args(Precision), get_args(Values)))
    for (precision, values), tolerance in TOLERANCES.items():
        likelier = 0.5 if precision.startswith("int8") and values == "probabilities" else 0.25
        assert 4 * UNIT[precision] < tolerance.max_difference < likelier
        assert np.sqrt(UNIT[precision]) > tolerance.mean_difference / 4
        assert tolerance.mean_difference < tolerance.max_difference / 4
        assert tolerance.other_first_class < 0.05
    assert all(TOLERANCES["fp32", values].other_first_class == 0 for values in get_args(Values))
