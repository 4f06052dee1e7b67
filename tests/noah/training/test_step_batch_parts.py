from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from noah.hardware.processes import ALONE, Processes
from noah.training.step import own_parts, own_share


@given(st.integers(0, 70), st.integers(1, 5), st.integers(1, 4))
def test_every_image_is_in_one_part_of_one_process(count: int, accumulation: int, processes: int) -> None:
    seen: list[int] = []
    sizes = []
    for rank in range(processes):
        each = Processes(rank, processes, rank)
        parts = own_parts(count, accumulation, each)
        assert all(part.stop > part.start for part in parts) and len(parts) <= accumulation
        own = [image for part in parts for image in range(part.start, part.stop)]
        assert own == list(range(count))[own_share(count, each)]
        sizes.append(len(own))
        seen += own
    assert seen == list(range(count))
    assert max(sizes) - min(sizes) <= 1


def test_alone_and_in_one_piece_it_is_the_whole_batch() -> None:
    assert own_parts(7, 1, ALONE) == [slice(0, 7)]
    assert own_share(0, ALONE) == slice(0, 0)
    assert own_parts(7, 3, ALONE) == [slice(0, 2), slice(2, 4), slice(4, 7)]
