"""The timings behind a latency table: parts of networks and whole networks, in turns, on the device in use."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from noah.backbone.families.registry import view_of
from noah.backbone.supported import untrained_backbone
from noah.cost.latency import median_seconds
from noah.cost.latency_table import WITH_CONSTANTS, Kind, LatencyTable, without_falls
from noah.hardware.device import Hardware
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.progress import Bar
from noah.space.kinds import BOTTLENECKS
from noah.space.operators import sample
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet

ROUNDS = 5
"""How many rounds are timed, each over all parts; the median of each part is kept."""
POINTS = 4
"""The most numbers of prompt tokens, and the most widths of the adapter, that are timed, including 0."""
_CHECKS = 5
"""How many random subnets are timed whole."""

Timer = Callable[[Sequence[Callable[[Tensor], Tensor]], Tensor, Hardware, Bar, int], list[float]]
"""`noah.cost.latency.median_seconds` or a replacement: it takes networks, images, hardware, bar and number of rounds,
and returns the seconds of each network."""


def measure_table(
    space: SearchSpace,
    architecture: str,
    image_size: tuple[int, int],
    num_classes: int,
    hardware: Hardware,
    batch_size: int,
    bar: Bar,
    timer: Timer = median_seconds,
) -> LatencyTable:
    """Time every kind of block that the space can have, the plain backbone, and a few random subnets whole.

    The backbone's weights are random, because time does not depend on them; torch's own random state is not changed. A
    kind of block is timed over all of a network's blocks of this kind, one after another, so weights come from memory
    just as they do in use.

    Args:
        space: The search space whose widths are timed.
        architecture: timm's name for the backbone's architecture.
        image_size: Height and width of the input in pixels.
        num_classes: The number of outputs of the head.
        hardware: Gives device, precision and threads.
        batch_size: The number of images in a batch.
        bar: Updated with the number of rounds done, out of `ROUNDS`.
        timer: Measures the time of each network.

    Raises:
        BackboneError: If the installed timm cannot build the backbone.
    """
    random = np.random.default_rng(0)
    checked = [sample(space, random) for _ in range(_CHECKS)]
    prompts, adapters = timed_points(space.modules["prompt"].widths), timed_points(_bottleneck_widths(space))
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        backbone = untrained_backbone(architecture, image_size, num_classes).to(hardware.device)
        images = torch.randn(batch_size, 3, *image_size).to(hardware.device)
        largest = Subnet.uniform(space.blocks, prompt=prompts[-1], adapter=adapters[-1])
        # Merged blocks have no LayerScale; folding it would copy weights that all parts share.
        supernet = Supernet(view_of(backbone).without_scales(), largest).to(hardware.device).eval()
        parts = [*_parts(supernet, space, prompts, adapters, batch_size)]
        ends = merge(supernet, Subnet.uniform(space.blocks))
        ends.blocks = nn.ModuleList()
        checking = Supernet(supernet.backbone, space.largest, num_classes=num_classes).to(hardware.device).eval()
        whole = [merge(checking, subnet) for subnet in checked]
        networks: list[Callable[[Tensor], Tensor]] = [backbone, ends, *whole, *parts]
        plain_seconds, ends_seconds, *seconds = timer(networks, images, hardware, bar, ROUNDS)
    blocks: dict[Kind, list[list[float]]] = {}
    for part, measured in zip(parts, seconds[_CHECKS:], strict=True):
        rows = blocks.setdefault(part.kind, [[] for _ in prompts])
        rows[part.row].append(measured / len(part.blocks))
    for kind, without in WITH_CONSTANTS.items():
        if kind in blocks:
            blocks[kind][0] = blocks[without][0]  # without prompt tokens both kinds are the same
    table = LatencyTable(
        prompts,
        adapters,
        without_falls(blocks),
        ends_seconds,
        plain_seconds,
        supernet.last_readers,
        batch_size,
        hardware.to_json(),
    )
    return table.with_checks(checked, seconds[:_CHECKS])


def _bottleneck_widths(space: SearchSpace) -> list[int]:
    """The widths, above 0, that the bottlenecks of one block may have together; all of them cost like an adapter's."""
    of_kinds = [(0, *space.modules[name].widths) for name in BOTTLENECKS if name in space.modules]
    return sorted({sum(widths) for widths in itertools.product(*of_kinds)} - {0})


def timed_points(widths: Sequence[int]) -> tuple[int, ...]:
    """The widths to time: 0 and the given ones, or if these are too many, a selection with the first and the last."""
    points = [0, *widths]
    count = min(len(points), POINTS)
    return tuple(points[round(place)] for place in np.linspace(0, len(points) - 1, count))


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Blocks of one kind, with their inputs (B, N, D).

    Args:
        kind: What the blocks do with prompt tokens.
        row: The index of their number of prompt tokens among those that are timed.
        blocks: At least one block, each with its input tokens.
    """

    kind: Kind
    row: int
    blocks: list[tuple[nn.Module, Tensor]]

    def __call__(self, images: Tensor) -> Tensor:
        """Run each block on its own tokens; the images are ignored."""
        for block, tokens in self.blocks:
            images = block(tokens)
        return images


def _parts(
    supernet: Supernet, space: SearchSpace, prompts: Sequence[int], adapters: Sequence[int], batch_size: int
) -> Iterator[_Part]:
    """Yield every kind of block, for every number of prompt tokens and, in ascending order, every adapter width."""
    depth = space.blocks
    device, image_tokens = supernet.view.weight.device, supernet.view.image_tokens
    # Prompts that fill the last blocks are replaced in each and carried by none.
    leaves_blocks_out = space.placement != "last" and any(
        0 < prompt_depth < depth for prompt_depth in space.modules["prompt"].depths
    )
    leaves_gaps = leaves_blocks_out and space.placement == "any"
    for row, count in enumerate(prompts):
        plain = torch.randn(batch_size, image_tokens, supernet.embed_dim).to(device)
        carrying = torch.randn(batch_size, image_tokens + count, supernet.embed_dim).to(device)

        for width in adapters:

            def blocks_of(prompt: Sequence[int], width: int = width) -> list[nn.Module]:
                subnet = Subnet(prompt=prompt, adapter=[width] * depth)
                return list(merge(supernet, subnet).blocks)

            *inner, last = blocks_of([count] * depth)
            if inner:
                yield _Part("constant", row, [(block, plain) for block in inner])
            yield _Part("last_constant", row, [(last, plain)])
            if count and leaves_blocks_out:
                first, *inner, last = blocks_of([count] + [0] * (depth - 1))
                yield _Part("passed_on", row, [(first, plain), *((block, carrying) for block in inner)])
                yield _Part("last_carried", row, [(last, carrying)])
            if count and leaves_gaps and depth > 2:
                alternating = blocks_of([count if block % 2 == 0 else 0 for block in range(depth)])
                yield _Part("dropped", row, [(block, carrying) for block in alternating[1:-1:2]])
