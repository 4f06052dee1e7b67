from __future__ import annotations

import pytest
import torch

from benchmarks.flops import PUBLISHED, measured_peak, published_peak, step_operations
from benchmarks.step_tables import operations_rows
from noah.space.subnet import Subnet


@pytest.mark.parametrize(
    ("card", "peak"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A10G", 70),
        ("NVIDIA GeForce GTX 1080", None),
    ],
)
def test_a_card_is_known_by_its_name(card: str, peak: float | None) -> None:
    assert published_peak(card) == peak


def test_no_name_hides_another() -> None:
    assert {name: published_peak(f"NVIDIA {name}") for name in PUBLISHED} == PUBLISHED


def test_the_backward_pass_ends_at_the_first_module() -> None:
    """Of four blocks, one stands before it."""
    subnet = Subnet(prompt=[0] * 4, lora=[0, 2, 0, 0], adapter=[0, 0, 0, 1])
    assert step_operations(1000, subnet, 8, training=False) == 2 * 1000 * 8
    assert step_operations(1000, subnet, 8, training=True) == 2 * 1000 * 8 * 1.75
    assert step_operations(1000, Subnet.uniform(4), 8, training=True) == 2 * 1000 * 8


def test_a_peak_can_be_measured() -> None:
    assert measured_peak(torch.device("cpu"), 64) > 0


def test_operations_a_second_beside_the_peaks() -> None:
    result = {
        "model": "m",
        "space": "s",
        "work": "training",
        "operations": [2e12, 4e12, 6e12],
        "seconds": {"straightforward fp32": [1.0] * 3, "ours fp32": [1.0] * 3, "ours bf16": [0.02, 0.01, 0.03]},
    }
    rows = operations_rows([result], 1000.0, None)[1]
    assert rows == [["m", "s", "training", "ours bf16", "200", "20.0%", ""]]
