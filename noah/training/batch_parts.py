"""A batch in parts: those of several processes, and those that one process takes one by one to save memory."""

from __future__ import annotations

from itertools import pairwise

from noah.hardware.processes import Processes


def own_parts(count: int, accumulation: int, processes: Processes) -> list[slice]:
    """The parts of a batch that this process takes, one after the other.

    Args:
        count: Images of the batch.
        accumulation: Parts of each process.
        processes: They share the batch; each gets as many images as another, or one more.

    Returns:
        So many parts, or fewer where there are fewer images than parts; none is empty.
    """
    parts = processes.count * accumulation
    edges = [part * count // parts for part in range(processes.rank * accumulation, parts + 1)][: accumulation + 1]
    return [slice(start, end) for start, end in pairwise(edges) if end > start]


def own_share(count: int, processes: Processes) -> slice:
    """All images of a batch that this process takes."""
    return next(iter(own_parts(count, 1, processes)), slice(0, 0))
