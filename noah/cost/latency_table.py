"""How long a subnet's merged network takes, predicted from timings of single blocks.

Time depends on shapes alone, and the shape of a merged block on two things: what it does with prompt tokens
(`noah.model.token_plan`) and how wide its adapters are together; what folds costs nothing. So few kinds of block are
timed, and the time of a subnet is the sum over its blocks, plus that of the ends: patch embedding, last norm and head.
Where there are many widths only some are timed, and what lies between two of them is interpolated linearly.

A sum of blocks is only a model of the network, so its error is measured, too, on a few whole subnets.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, PlainSerializer

from noah.backbone.view import Readers
from noah.files.record import Record
from noah.model.token_plan import BlockPlan, plan_tokens
from noah.space.subnet import Subnet

Kind = Literal["constant", "passed_on", "dropped", "last_constant", "last_carried"]
"""What a block does with prompt tokens.

- constant: they are its own and nobody reads them again, so their keys and values are constants; or there are none.
- passed_on: new or carried, they are tokens like all others, and are read again.
- dropped: they were carried here and need keys and values, but nobody reads them again.
- last_constant, last_carried: like constant and dropped, in the last block, which computes only what the head reads.
"""

WITH_CONSTANTS: dict[Kind, Kind] = {
    "passed_on": "constant",
    "dropped": "constant",
    "last_carried": "last_constant",
}
"""The kind of block in the same place with constant prompts instead; without prompts both are the same."""

LARGEST_ERROR = 0.15
"""A prediction with a larger relative error is reported as a rough one."""


@dataclass(frozen=True, slots=True)
class TimedSubnet(Record):
    """A whole subnet, as predicted and as timed."""

    subnet: Annotated[Subnet, BeforeValidator(Subnet.from_json), PlainSerializer(Subnet.to_json)]
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """The error of the prediction relative to the measured time."""
        return abs(self.predicted / self.measured - 1)


@dataclass(frozen=True, slots=True, eq=False)
class LatencyTable(Record):
    """Timings of blocks; a table equals itself alone.

    Args:
        prompts: The numbers of prompt tokens that were timed, in ascending order from 0.
        adapters: The widths of the adapter that were timed, in ascending order from 0.
        blocks: For each kind, the seconds that a batch takes in one block, with a row for each of `prompts` and a
            column for each of `adapters`. Rows and columns never fall; see `without_falls`.
        ends: The seconds that a batch takes in everything but the blocks.
        plain: The seconds that a batch takes in the plain backbone with a head.
        last_readers: What the head reads after the last block.
        batch_size: The number of images in a batch.
        hardware: Device, precision and threads.
        checks: Whole subnets that were timed to check the predictions.
    """

    prompts: tuple[int, ...]
    adapters: tuple[int, ...]
    blocks: Mapping[str, Sequence[Sequence[float]]]
    ends: float
    plain: float
    last_readers: Readers
    batch_size: int
    hardware: Mapping[str, Any]
    checks: tuple[TimedSubnet, ...] = ()

    def __call__(self, subnet: Subnet) -> float:
        """Predict the seconds for one image: those of a batch, divided by its number of images."""
        return self.batch_seconds(subnet) / self.batch_size

    def batch_seconds(self, subnet: Subnet) -> float:
        """Predict the seconds for a batch."""
        plans = plan_tokens(subnet.prompt, self.last_readers)
        return self.ends + sum(map(self._block_seconds, plans, subnet.bottlenecks))

    def _block_seconds(self, plan: BlockPlan, adapter: int) -> float:
        kind, tokens = kind_of(plan)
        rows = self.blocks[kind]
        row, below = _position(self.prompts, tokens)
        column, left = _position(self.adapters, adapter)
        upper, lower = (
            values[column] * left + values[min(column + 1, len(values) - 1)] * (1 - left)
            for values in (rows[row], rows[min(row + 1, len(rows) - 1)])
        )
        return upper * below + lower * (1 - below)

    @property
    def plain_seconds(self) -> float:
        """The plain backbone's seconds for one image."""
        return self.plain / self.batch_size

    @property
    def errors(self) -> tuple[float, float]:
        """The median and the largest relative error of the predictions for the whole subnets that were timed."""
        errors = [check.error for check in self.checks]
        return median(errors), max(errors)

    def with_checks(self, subnets: Sequence[Subnet], measured: Sequence[float]) -> Self:
        """Add whole subnets as checks; `measured` holds their seconds for a batch."""
        checks = (TimedSubnet(s, self.batch_seconds(s), seconds) for s, seconds in zip(subnets, measured, strict=True))
        return replace(self, checks=tuple(checks))

    def to_json(self) -> dict[str, Any]:
        """The table as written to latency.json; all times are seconds for a batch."""
        middle, largest = self.errors if self.checks else (None, None)
        return {
            "hardware": dict(self.hardware),
            "batch_size": self.batch_size,
            "last_readers": self.last_readers.value,
            "plain": self.plain,
            "ends": self.ends,
            "prompts": list(self.prompts),
            "adapters": list(self.adapters),
            "blocks": {kind: [list(row) for row in rows] for kind, rows in self.blocks.items()},
            "median_error": middle,
            "largest_error": largest,
            "checks": [check.to_json() for check in self.checks],
        }


def kind_of(plan: BlockPlan) -> tuple[Kind, int]:
    """What a block does with prompt tokens, and how many there are."""
    last = plan.readers is not Readers.ALL
    if plan.passed_on:
        return "passed_on", plan.passed_on
    if plan.carried:
        return ("last_carried" if last else "dropped"), plan.carried
    return ("last_constant" if last else "constant"), plan.new_prompts


def without_falls(blocks: Mapping[Kind, Sequence[Sequence[float]]]) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Reorder timings so that they never fall as the work grows.

    Work grows with the number of prompts and with the adapter's width; and prompts that are tokens, or carried, are
    more work than the same number of constant ones. Where noise turns the order around, timings change places: each row
    is sorted, then each column, then each pair of kinds, and no step undoes an earlier one. The total time stays the
    same, which would not be so if larger blocks were raised to the time of smaller ones.
    """
    sorted_rows = {kind: np.sort(np.sort(np.asarray(rows), axis=1), axis=0) for kind, rows in blocks.items()}
    for kind, without in WITH_CONSTANTS.items():
        if kind in sorted_rows:
            pair = sorted_rows[kind], sorted_rows[without]
            sorted_rows[kind], sorted_rows[without] = np.maximum(*pair), np.minimum(*pair)
    return {kind: tuple(map(tuple, rows.tolist())) for kind, rows in sorted_rows.items()}


def _position(points: Sequence[int], value: int) -> tuple[int, float]:
    """The index of the point at or below a value, and its weight; the rest of the weight is the next point's.

    A value beyond the last point counts as that point.
    """
    index = bisect_right(points, value) - 1
    if index >= len(points) - 1:
        return len(points) - 1, 1.0
    return index, (points[index + 1] - value) / (points[index + 1] - points[index])
