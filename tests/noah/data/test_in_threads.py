"""Work in threads keeps its order, stays within its bound, keeps errors with their items and ends cleanly."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noah.data.in_threads import in_threads
from noah.errors import UnreadableImageError


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert [thread for thread in threading.enumerate() if thread.name.startswith("decode")] == []


@settings(deadline=None, max_examples=30)
@given(count=st.integers(0, 40), ahead=st.integers(1, 8), workers=st.integers(1, 4), broken=st.sets(st.integers(0, 39)))
def test_each_item_comes_in_order_with_its_result_or_its_error(
    count: int, ahead: int, workers: int, broken: set[int]
) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(count):
            taken.append(number)
            yield number

    def work(number: int) -> int:
        if number in broken:
            raise UnreadableImageError(str(number))
        return number**2

    for given_out, (number, result) in enumerate(in_threads(items(), work, ahead=ahead, workers=workers)):
        assert number == given_out
        assert len(taken) == min(count, given_out + 1 + ahead)
        assert str(result) == str(number) if number in broken else result == number**2
    assert len(taken) == count


def test_closing_drops_what_is_queued() -> None:
    done: list[int] = []
    with closing(in_threads(range(10**9), done.append, ahead=5, workers=2)) as results:
        assert next(results) == (0, None)
    assert len(done) <= 6


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
def test_any_other_error_ends_the_work(error: type[BaseException]) -> None:
    def work(number: int) -> int:
        if number == 3:
            raise error
        return number

    found: list[object] = []
    with pytest.raises(error):
        found.extend(number for number, _ in in_threads(range(10**9), work, ahead=2, workers=2))
    assert found == [0, 1, 2]
