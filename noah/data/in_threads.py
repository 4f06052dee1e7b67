"""Decodes images in threads, which is enough because Pillow decodes and resizes without the interpreter lock."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

from noah.errors import UnreadableImageError
from noah.hardware.cores import usable_cores

T = TypeVar("T")
R = TypeVar("R")

THREADS = min(usable_cores().count, 32)
"""What decoding takes where nobody asks for another number."""


def in_threads(
    items: Iterable[T], work: Callable[[T], R], *, ahead: int, workers: int = THREADS
) -> Generator[tuple[T, R | UnreadableImageError], None, None]:
    """Give each item with what `work` made of it, in order, while threads work on the next ones.

    An image that cannot be read stops nothing: its error is its result. Any other exception ends the work. Closing the
    generator, as leaving a `contextlib.closing` block does, drops what is queued and waits for what is being worked on.

    Args:
        items: Read no further ahead than needed.
        work: Called in a thread.
        ahead: Items beyond those given out that may be done or under way, at least 1.
        workers: Number of threads.
    """
    remaining = iter(items)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="decode")
    try:
        started = deque((item, pool.submit(work, item)) for item in islice(remaining, ahead))
        while started:
            item, future = started.popleft()
            result: R | UnreadableImageError
            try:
                result = future.result()
            except UnreadableImageError as error:
                result = error
            started.extend((following, pool.submit(work, following)) for following in islice(remaining, 1))
            yield item, result
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
