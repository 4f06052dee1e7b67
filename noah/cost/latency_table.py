"""How long a subnet's merged network takes, predicted from timings of single blocks.

Time depends on shapes alone, and the shape of a merged block on two things: what it does with prompt tokens
(`noah.model.token_plan`) and how wide its adapter is; LoRA costs nothing. So few kinds of block are timed, and the time
of a subnet is the sum over its blocks, plus that of the ends: patch embedding, last norm and head. Where there are many
widths only some are timed, and what lies between two of them is interpolated linearly.

A sum of blocks is a model of a network, not the network: how far off it is on some whole subnets is measured with it.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import BeforeValidator, PlainSerializer

from noah.files.record import Record
from noah.model.token_plan import BlockPlan, Readers, plan_tokens
from noah.space.subnet import Subnet

Kind = Literal["constant", "passed_on", "dropped", "last_constant", "last_carried"]
"""What a block does with prompt tokens.

- constant: they are its own and nobody reads them again, so their keys and values are constants; or there are none.
- passed_on: they are tokens like all others, new or carried, and are read again.
- dropped: they were carried here, give keys and values, and nobody reads them again.
- last_constant, last_carried: like the first and the third, in the last block, which computes what the head reads.
"""

WITH_CONSTANTS: dict[Kind, Kind] = {
    "passed_on": "constant",
    "dropped": "constant",
    "last_carried": "last_constant",
}
"""The same place with constant prompts instead; the two are one where there are no prompts."""

LARGEST_ERROR = 0.15
"""A prediction that is off by more, relatively, is told to be a rough one."""


@dataclass(frozen=True, slots=True)
class TimedSubnet(Record):
    """A whole subnet, as predicted and as timed."""

    subnet: Annotated[Subnet, BeforeValidator(Subnet.from_json), PlainSerializer(Subnet.to_json)]
    predicted: float
    measured: float

    @property
    def error(self) -> float:
        """How far off the prediction is, relative to the measured time."""
        return abs(self.predicted / self.measured - 1)


@dataclass(frozen=True, slots=True, eq=False)
class LatencyTable(Record):
    """Timings of blocks; a table equals itself alone.

    Args:
        prompts: Numbers of prompt tokens that were timed, ascending, 0 first.
        adapters: Widths of the adapter that were timed, ascending, 0 first.
        blocks: For each kind the seconds of a batch in one block, a row for each of `prompts`, a column for each of
            `adapters`. Rows and columns never fall, see `without_falls`.
        ends: Seconds of a batch in everything but the blocks.
        plain: Seconds of a batch in the plain backbone with a head.
        last_readers: What the head reads of the last block.
        batch_size: Images in a batch.
        hardware: Device, precision and threads.
        checks: Whole subnets, in seconds of a batch.
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
        """Predicted seconds for one image: those of a batch, divided by its images."""
        return self.batch_seconds(subnet) / self.batch_size

    def batch_seconds(self, subnet: Subnet) -> float:
        """Predicted seconds for a batch."""
        plans = plan_tokens(subnet.prompt, self.last_readers)
        return self.ends + sum(map(self._block_seconds, plans, subnet.adapter))

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
        """Seconds of the plain backbone for one image."""
        return self.plain / self.batch_size

    @property
    def errors(self) -> tuple[float, float]:
        """Median and largest relative error of the predictions, on the whole subnets that were timed."""
        errors = [check.error for check in self.checks]
        return median(errors), max(errors)

    def with_checks(self, subnets: Sequence[Subnet], measured: Sequence[float]) -> Self:
        """The table with whole subnets beside its predictions; `measured` are their seconds of a batch."""
        checks = (TimedSubnet(s, self.batch_seconds(s), seconds) for s, seconds in zip(subnets, measured, strict=True))
        return replace(self, checks=tuple(checks))

    def to_json(self) -> dict[str, Any]:
        """The table as written to latency.json; times are seconds of a batch."""
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
    """What a block does with prompt tokens, and with how many."""
    last = plan.readers is not Readers.ALL
    if plan.passed_on:
        return "passed_on", plan.passed_on
    if plan.carried:
        return ("last_carried" if last else "dropped"), plan.carried
    return ("last_constant" if last else "constant"), plan.new_prompts


def without_falls(blocks: Mapping[Kind, Sequence[Sequence[float]]]) -> dict[str, tuple[tuple[float, ...], ...]]:
    """Timings that never fall where the work grows.

    Work grows with prompts and with the adapter's width; and prompts that are tokens, or carried, are more work than as
    many constant ones. Where noise has it the other way round, timings change places: each row is sorted, then each
    column, then each pair of kinds, and none of these steps undoes those before. So nothing is slower or faster on the
    whole, as it would be if larger blocks were raised to the time of smaller ones.
    """
    sorted_rows = {kind: np.sort(np.sort(np.asarray(rows), axis=1), axis=0) for kind, rows in blocks.items()}
    for kind, without in WITH_CONSTANTS.items():
        if kind in sorted_rows:
            pair = sorted_rows[kind], sorted_rows[without]
            sorted_rows[kind], sorted_rows[without] = np.maximum(*pair), np.minimum(*pair)
    return {kind: tuple(map(tuple, rows.tolist())) for kind, rows in sorted_rows.items()}


def _position(points: Sequence[int], value: int) -> tuple[int, float]:
    """The point at or below a value, and its share of the value; the rest is the next point's.

    Beyond the last point the value counts as that point.
    """
    index = bisect_right(points, value) - 1
    if index >= len(points) - 1:
        return len(points) - 1, 1.0
    return index, (points[index + 1] - value) / (points[index + 1] - points[index])
