"""The sum over blocks, from timings that are made up."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.backbone.view import Readers
from noah.cost.latency_table import LatencyTable, kind_of, without_falls
from noah.model.token_plan import BlockPlan
from noah.space.subnet import Subnet

TABLE = LatencyTable(
    prompts=(0, 2, 10),
    adapters=(0, 4),
    blocks={
        "constant": ((10.0, 14.0), (11.0, 15.0), (15.0, 19.0)),
        "passed_on": ((10.0, 14.0), (20.0, 30.0), (60.0, 90.0)),
        "dropped": ((10.0, 14.0), (16.0, 20.0), (32.0, 36.0)),
        "last_constant": ((1.0, 2.0), (1.5, 2.5), (3.5, 4.5)),
        "last_carried": ((1.0, 2.0), (4.0, 5.0), (8.0, 9.0)),
    },
    ends=100.0,
    plain=144.0,
    last_readers=Readers.CLASS,
    batch_size=2,
    hardware={"device": "cpu", "precision": "fp32", "threads": 1},
)


@pytest.mark.parametrize(
    ("prompt", "adapter", "seconds"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0], 100 + 3 * 10 + 1),
        ([0, 0, 0, 0], [4, 0, 4, 4], 100 + 14 + 10 + 14 + 2),
        ([2, 2, 2, 2], [0, 0, 0, 0], 100 + 3 * 11 + 1.5),
        ([2, 10, 0, 0], [0, 4, 0, 0], 100 + 11 + 90 + 60 + 8),
        ([2, 0, 10, 2], [0, 0, 0, 4], 100 + 20 + 16 + 15 + 2.5),
        ([6, 6, 6, 6], [0, 0, 0, 0], 100 + 3 * 13 + 2.5),  # half-way
        ([0, 0, 0, 4], [1, 0, 0, 0], 100 + 11 + 2 * 10 + 2),  # a quarter of the way in both
        ([10, 0, 0, 0], [2, 2, 2, 2], 100 + 3 * 75 + 8.5),
    ],
)
def test_a_subnet_is_the_sum_of_its_blocks(prompt: list[int], adapter: list[int], seconds: float) -> None:
    for rank in (0, 9):
        subnet = Subnet(prompt, [rank] * 4, adapter)
        assert TABLE.batch_seconds(subnet) == pytest.approx(seconds)
        assert TABLE(subnet) == pytest.approx(seconds / 2)
    assert TABLE.plain_seconds == 72


def test_what_a_block_does_with_prompts() -> None:
    kinds = [
        (BlockPlan(3, 0, 0, Readers.ALL), ("constant", 3)),
        (BlockPlan(0, 0, 0, Readers.ALL), ("constant", 0)),
        (BlockPlan(3, 0, 3, Readers.ALL), ("passed_on", 3)),
        (BlockPlan(0, 3, 3, Readers.ALL), ("passed_on", 3)),
        (BlockPlan(0, 3, 0, Readers.ALL), ("dropped", 3)),
        (BlockPlan(3, 0, 0, Readers.PATCHES), ("last_constant", 3)),
        (BlockPlan(0, 3, 0, Readers.CLASS), ("last_carried", 3)),
    ]
    for plan, kind in kinds:
        assert kind_of(plan) == kind


def test_the_table_goes_through_json() -> None:
    subnets = [Subnet([2, 0, 10, 2], [1] * 4, [0, 1, 2, 4]), Subnet.uniform(4, prompt=7), Subnet.uniform(4)]
    checked = TABLE.with_checks(subnets, [TABLE.batch_seconds(subnet) * factor for subnet, factor in
                                      zip(subnets, (1.0, 0.8, 1.25), strict=True)])  # fmt: skip
    assert checked.errors == pytest.approx((0.2, 0.25))
    stored = json.loads(json.dumps(checked.to_json()))
    assert (stored["median_error"], stored["largest_error"]) == pytest.approx((0.2, 0.25))
    assert stored["hardware"] == {"device": "cpu", "precision": "fp32", "threads": 1}
    read = LatencyTable.from_json(stored)
    assert read.to_json() == checked.to_json()
    assert read.checks == checked.checks
    assert [read(subnet) for subnet in subnets] == [TABLE(subnet) for subnet in subnets]


timings = st.lists(st.lists(st.floats(0.1, 10), min_size=3, max_size=3), min_size=4, max_size=4)


@given(st.fixed_dictionaries(dict.fromkeys(TABLE.blocks, timings)))
def test_noise_never_makes_more_work_faster(noisy: dict[str, list[list[float]]]) -> None:
    quiet = without_falls(noisy)  # type: ignore[arg-type]  # the keys are those of a table
    for rows in quiet.values():
        for row, below in itertools.pairwise(rows):
            assert all(a <= b for a, b in zip(row, below, strict=True))
        assert all(list(row) == sorted(row) for row in rows)
    for kind, less in (("passed_on", "constant"), ("dropped", "constant"), ("last_carried", "last_constant")):
        for row, smaller in zip(quiet[kind], quiet[less], strict=True):
            assert all(a >= b for a, b in zip(row, smaller, strict=True))
    times = [sorted(time for rows in table.values() for row in rows for time in row) for table in (noisy, quiet)]
    assert times[0] == times[1]
    assert without_falls(quiet) == quiet  # type: ignore[arg-type]  # as above
