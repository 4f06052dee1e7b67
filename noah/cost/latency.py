"""How long a merged network takes compared with the plain backbone: both are timed in turns on the same device."""

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
"""How many rounds are timed; twice as many would hardly change the median."""
_WARM_UP = 2
"""How many rounds run first, untimed, while memory is allocated and kernels are chosen."""


def relative_latency(
    architecture: str, image_size: tuple[int, int], num_classes: int, subnet: Subnet, hardware: Hardware, bar: Bar
) -> float:
    """Measure the time of a subnet's merged network, as a multiple of the plain backbone's.

    Time depends on shapes alone, so the weights are random and those of a run are not needed.

    Args:
        architecture: timm's name for the backbone's architecture.
        image_size: Height and width of the input in pixels.
        num_classes: The number of outputs of the head.
        subnet: The subnet to merge and time.
        hardware: Gives device, precision and threads.
        bar: Updated with the number of rounds done, out of `ROUNDS`.

    Raises:
        BackboneError: If the installed timm cannot build the backbone.
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
    """Measure the median time of each network over several rounds, each of which runs every network once.

    Args:
        networks: Each maps images to logits.
        images: One batch (B, 3, H, W), on the device.
        hardware: Gives device and precision.
        bar: Updated with the number of rounds done.
        rounds: The number of rounds to time.
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
