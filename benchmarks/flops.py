"""How much arithmetic a step has, and how much a GPU can do: what "of the card's peak" means in the tables.

A step's arithmetic is that of the method, whoever computes it and however: a multiply-accumulate of the merged network
is two operations; a training step has a backward pass of as many from the first block with a module on, because the
backbone's own weights need no gradient. Left out are LoRA beside its projection, the gradients of the modules' weights,
and everything elementwise, so the share of the peak is rather too small than too large.
"""

from __future__ import annotations

import time

import torch

from noah.hardware.step_clock import wait
from noah.space.subnet import Subnet

PUBLISHED = {
    "B200": 2250.0,
    "GH200": 989.0,
    "H200 NVL": 836.0,
    "H200": 989.0,
    "H100 NVL": 836.0,
    "H100 PCIe": 756.0,
    "H100": 989.0,
    "A100": 312.0,
    "A40": 150.0,
    "A30": 165.0,
    "A10G": 70.0,
    "A10": 125.0,
    "L40S": 362.0,
    "L40": 181.0,
    "L4": 121.0,
    "RTX 4090": 165.0,
    "RTX 3090": 71.0,
    "RTX A6000": 155.0,
}
"""TFLOP/s of products of dense bfloat16 matrices, summed in float32, by a part of the card's name, as NVIDIA's data
sheets have them. A name that contains another stands before it."""


def step_operations(macs: int, subnet: Subnet, batch_size: int, *, training: bool) -> float:
    """The operations of a step.

    Args:
        macs: Multiply-accumulates of the subnet's merged network for one image.
        subnet: Tells how far the backward pass goes.
        batch_size: Images per step.
        training: Whether there is a backward pass.
    """
    backward = 1 - subnet.bare_blocks / subnet.depth if training else 0.0
    return 2.0 * macs * batch_size * (1 + backward)


def published_peak(card: str) -> float | None:
    """TFLOP/s of a card in bfloat16 by NVIDIA's data sheet; None if it is not known here."""
    return next((peak for name, peak in PUBLISHED.items() if name in card), None)


def measured_peak(device: torch.device, size: int = 8192) -> float:
    """TFLOP/s of a product of two large random matrices in bfloat16: what a program can reach on this very card.

    Args:
        device: The device to measure on.
        size: Rows and columns of the matrices.
    """
    generator = torch.Generator().manual_seed(0)
    one, other = (torch.randn(size, size, generator=generator).to(device, torch.bfloat16) for _ in range(2))
    fastest = float("inf")
    for number in range(13):
        wait(device)
        started = time.perf_counter()
        torch.matmul(one, other)
        wait(device)
        if number >= 3:
            fastest = min(fastest, time.perf_counter() - started)
    return 2.0 * size**3 / fastest / 1e12
