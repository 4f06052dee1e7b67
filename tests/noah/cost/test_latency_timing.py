"""The timings behind the table, where work stands for time; and once where time does."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from noah.backbone.supported import untrained_backbone
from noah.cost.latency_table import LatencyTable
from noah.cost.latency_timing import ROUNDS, measure_table, timed_points
from noah.cost.macs import backbone_macs, macs_of
from noah.hardware.device import Hardware
from noah.progress import Bar, Detail, Silent
from noah.space.module_space import Placement
from noah.space.operators import sample
from noah.space.search_space import SearchSpace, make_space
from tests.noah.counted_work import counted_macs

CPU = Hardware(torch.device("cpu"), "fp32", 1, ())
WIDTHS = {"prompt": (1, 3, 6), "lora": (2,), "adapter": (1, 4)}


def count_work(
    networks: Sequence[Callable[[Tensor], Tensor]], images: Tensor, hardware: Hardware, bar: Bar, rounds: int
) -> list[float]:
    """Multiply-accumulates as seconds."""
    return [counted_macs(network, images) for network in networks]


def table_of(space: SearchSpace, architecture: str = "test_vit", batch_size: int = 2) -> LatencyTable:
    return measure_table(space, architecture, (32, 32), 3, CPU, batch_size, Silent(), count_work)


# Class token; average pooling; attention pooling of all tokens.
@pytest.mark.parametrize("architecture", ["test_vit", "test_vit2", "test_vit3"])
@pytest.mark.parametrize(
    ("placement", "depths"), [("first", (2, 4, 6)), ("last", (2, 6)), ("any", (1, 3, 6)), ("first", (6,))]
)
def test_the_sum_over_blocks_is_the_work_of_the_whole(
    architecture: str, placement: Placement, depths: tuple[int, ...]
) -> None:
    backbone = untrained_backbone(architecture, (32, 32), 3)
    blocks = len(backbone.blocks)  # type: ignore[arg-type]  # a timm backbone's blocks are a Sequential
    space = make_space(blocks, 64, WIDTHS, tuple(min(depth, blocks) for depth in depths), placement)
    table, macs = table_of(space, architecture), macs_of(backbone, 3)
    assert table.plain_seconds == backbone_macs(backbone, 3)
    assert table.errors == pytest.approx((0, 0), abs=1e-12)
    rng = np.random.default_rng(0)
    for subnet in (sample(space, rng) for _ in range(50)):
        assert table(subnet) == pytest.approx(macs(subnet), rel=1e-12)


def test_many_widths_are_interpolated() -> None:
    space = make_space(6, 64, {"prompt": tuple(range(1, 11)), "adapter": tuple(range(1, 11))}, (2, 6))
    table = table_of(space)
    assert table.prompts == table.adapters == (0, 3, 7, 10)
    macs, rng = macs_of(untrained_backbone("test_vit", (32, 32), 3), 3), np.random.default_rng(0)
    for subnet in (sample(space, rng) for _ in range(50)):
        assert table(subnet) == pytest.approx(macs(subnet), rel=0.005)  # attention alone is not linear


def test_the_widths_that_are_timed() -> None:
    assert timed_points(()) == (0,)
    assert timed_points((1, 5, 10)) == (0, 1, 5, 10)
    assert timed_points((5, 10, 50, 100)) == (0, 5, 50, 100)
    assert timed_points((1, 5, 10, 25, 50, 100)) == (0, 5, 25, 100)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_real_table(precision: str) -> None:
    space = make_space(6, 64, {"prompt": (2, 5), "lora": (1,), "adapter": (3,)}, (2, 6))
    before = torch.get_rng_state()
    done: list[float] = []

    class Counted:
        def update(self, value: float, text: str = "", detail: Detail | None = None) -> None:
            done.append(value)

    hardware = Hardware(torch.device("cpu"), precision, 1, ())  # type: ignore[arg-type]  # parametrized
    table = measure_table(space, "test_vit", (32, 32), 3, hardware, 2, Counted())
    assert torch.equal(torch.get_rng_state(), before)
    assert done[-1] == ROUNDS
    assert set(table.blocks) == {"constant", "passed_on", "last_constant", "last_carried"}
    assert all(seconds > 0 for rows in table.blocks.values() for row in rows for seconds in row)
    assert 0 < table(space.smallest) <= table(space.largest)
    assert len(table.checks) == 5
    assert table.hardware == {"device": "cpu", "precision": precision, "threads": 1}
