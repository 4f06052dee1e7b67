"""How long a merged network takes beside the plain backbone: both timed in turns, on one device, in one run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from statistics import median

import torch
from torch import Tensor

from noah.backbone.supported import untrained_backbone
from noah.hardware.device import Hardware
from noah.hardware.step_clock import wait
from noah.hardware.turns import seconds_in_turns
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.progress import Bar
from noah.space.subnet import Subnet

BATCH_SIZE = 32
ROUNDS = 10
"""Of timing; as many more would change the median little."""
_WARM_UP = 2
"""Rounds before them, in which memory is allocated and kernels are chosen."""


def relative_latency(
    architecture: str, image_size: tuple[int, int], num_classes: int, subnet: Subnet, hardware: Hardware, bar: Bar
) -> float:
    """Time of a subnet's merged network, the plain backbone's being 1.

    Time depends on shapes alone, so the weights are random and those of a run are not needed.

    Args:
        architecture: timm's name of the backbone's architecture.
        image_size: Height and width of its input in pixels.
        num_classes: Outputs of the head.
        subnet: The subnet.
        hardware: Device, precision and threads.
        bar: Told the rounds that are done, `ROUNDS` in all.

    Raises:
        BackboneError: The installed timm cannot build the backbone.
    """
    backbone = untrained_backbone(architecture, image_size, num_classes).to(hardware.device)
    merged = merge(Supernet(backbone, subnet).eval(), subnet)
    images = torch.randn(BATCH_SIZE, 3, *image_size, device=hardware.device)
    plain_seconds, merged_seconds = median_seconds([backbone, merged], images, hardware, bar)
    return merged_seconds / plain_seconds


@torch.inference_mode()
def median_seconds(
    networks: Sequence[Callable[[Tensor], Tensor]], images: Tensor, hardware: Hardware, bar: Bar, rounds: int = ROUNDS
) -> list[float]:
    """The median time of each network over some rounds, each of which runs every network once.

    Args:
        networks: Each maps images to logits.
        images: One batch (B, 3, H, W), on the device.
        hardware: Device and precision.
        bar: Told the rounds that are done.
        rounds: How many.
    """

    def run(network: Callable[[Tensor], Tensor]) -> None:
        with hardware.autocast():
            network(images)

    def is_enough(counted: int, _: float) -> bool:
        bar.update(counted)
        return counted == rounds

    runs = [partial(run, network) for network in networks]
    settle = partial(wait, hardware.device)
    return [median(values) for values in seconds_in_turns(runs, warm_up=_WARM_UP, is_enough=is_enough, settle=settle)]
