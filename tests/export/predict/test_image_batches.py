from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from export.predict import image_batches
from export.predict.image_batches import ImageBatch, read_ahead
from noah.data.decode import Decoded, open_image
from noah.data.decoding import Decoding
from noah.data.pixels.preprocessing import Preprocessing
from tests.export.real_images import write_broken, write_readable
from tests.export.tiny_artifact import PREPROCESSING

ONE_PIXEL = Preprocessing(1, 1, "squash", 1.0, "nearest", (0, 0, 0), (1, 1, 1))


def decoding_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("decode")]


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    yield
    assert decoding_threads() == []


def endless() -> Generator[ImageBatch, None, None]:
    return read_ahead(numbered(10**9), ONE_PIXEL.pixels, batch_size=2, workers=2, depth=2)


class Reads:
    """Stands in for image files: the name is a number, decoded to one pixel of it; counts what was decoded."""

    def __init__(self) -> None:
        self.decoded: list[int] = []

    def reach(self, count: int) -> bool:
        return len(self.decoded) >= count

    def decode_image(self, path: Path, decoding: Decoding) -> Decoded:
        self.decoded.append(int(path.name))
        return Decoded(Image.new("RGB", (1, 1), (int(path.name) % 256, 0, 0)))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Reads:
    reads = Reads()
    monkeypatch.setattr(image_batches, "decode_image", reads.decode_image)
    return reads


def numbered(count: int, taken: list[int] | None = None) -> Iterator[Path]:
    for number in range(count):
        if taken is not None:
            taken.append(number)
        yield Path(str(number))


def test_every_readable_image_is_decoded_as_if_alone_and_every_broken_one_is_listed(tmp_path: Path) -> None:
    readable, broken = write_readable(tmp_path), write_broken(tmp_path / "broken")
    missing = tmp_path / "missing.jpg"
    mixed = [path for pair in zip(readable, [*broken, missing, *[None] * 9], strict=False) for path in pair if path]
    batches = list(read_ahead(mixed, PREPROCESSING.pixels, batch_size=4, workers=3, depth=2))
    assert [path for batch in batches for path in batch.paths] == readable
    failures = dict(failure for batch in batches for failure in batch.failures)
    assert sorted(failures) == sorted([*broken, missing])
    for path, cause in failures.items():
        assert cause
        assert "\n" not in cause
        assert str(path) not in cause
    for batch in batches:
        assert len(batch.paths) + len(batch.failures) <= 4
        for path, pixels in zip(batch.paths, batch.pixels, strict=True):
            np.testing.assert_array_equal(pixels, PREPROCESSING.pixels(open_image(path)))


def test_a_batch_without_a_readable_image_is_empty(tmp_path: Path) -> None:
    broken = write_broken(tmp_path)
    (batch,) = read_ahead(broken, PREPROCESSING.pixels, batch_size=8, workers=1, depth=1)
    assert batch.paths == ()
    assert batch.pixels == ()
    assert [path for path, _ in batch.failures] == broken


def test_no_path_gives_no_batch() -> None:
    assert list(read_ahead([], PREPROCESSING.pixels, batch_size=8, workers=2, depth=2)) == []


@settings(max_examples=40, deadline=None)
@given(count=st.integers(0, 40), batch_size=st.integers(1, 12), workers=st.integers(1, 4), depth=st.integers(1, 4))
def test_order_and_sizes_hold_for_any_setting(count: int, batch_size: int, workers: int, depth: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_batches, "decode_image", Reads().decode_image)
        batches = list(
            read_ahead(numbered(count), ONE_PIXEL.pixels, batch_size=batch_size, workers=workers, depth=depth)
        )
    assert [int(path.name) for batch in batches for path in batch.paths] == list(range(count))
    assert [value for batch in batches for pixels in batch.pixels for value in pixels[0, 0, :1].tolist()] == list(
        range(count)
    )
    assert all(len(batch.paths) == batch_size for batch in batches[:-1])


def wait_until(condition: Callable[[], bool]) -> None:
    """Let the workers do all that they may do."""
    pause = threading.Event()
    while not condition():
        pause.wait(0.001)


@pytest.mark.parametrize("depth", [1, 3])
def test_however_slow_the_consumer_only_depth_batches_are_ahead(reads: Reads, depth: int) -> None:
    taken: list[int] = []
    with closing(read_ahead(numbered(100, taken), ONE_PIXEL.pixels, batch_size=5, workers=4, depth=depth)) as batches:
        for given_out, batch in enumerate(batches, start=1):
            allowed = min(100, 5 * (given_out + depth))
            wait_until(partial(reads.reach, allowed))  # the slowest consumer
            assert len(reads.decoded) == len(taken) == allowed
            assert len(batch.paths) == 5
    assert given_out == 20


def test_stopping_early_leaves_no_thread_and_drops_what_is_queued(reads: Reads) -> None:
    with closing(read_ahead(numbered(10**9), ONE_PIXEL.pixels, batch_size=5, workers=2, depth=3)) as batches:
        next(batches)
        assert decoding_threads()
    assert decoding_threads() == []
    assert len(reads.decoded) <= 20


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_exception_in_the_consumer_leaves_no_thread(reads: Reads, interruption: type[BaseException]) -> None:
    with pytest.raises(interruption), closing(endless()) as batches:
        for _ in batches:
            raise interruption
    assert decoding_threads() == []


@pytest.mark.parametrize("interruption", [KeyboardInterrupt, ValueError])
def test_an_exception_while_waiting_leaves_no_thread(reads: Reads, interruption: type[BaseException]) -> None:
    batches = endless()
    next(batches)
    with pytest.raises(interruption):
        batches.throw(interruption)
    assert decoding_threads() == []


def test_an_exception_in_the_paths_reaches_the_consumer() -> None:
    def paths() -> Iterable[Path]:
        yield Path("missing")
        raise LookupError

    with pytest.raises(LookupError):
        list(read_ahead(paths(), ONE_PIXEL.pixels, batch_size=1, workers=1, depth=1))


def test_an_unexpected_exception_in_a_worker_is_not_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path, decoding: Decoding) -> Decoded:
        raise MemoryError

    monkeypatch.setattr(image_batches, "decode_image", fail)
    with pytest.raises(MemoryError):
        list(read_ahead([Path("a")], ONE_PIXEL.pixels, batch_size=1, workers=1, depth=1))


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"workers": 0}, {"depth": 0}])
def test_sizes_below_one_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        next(read_ahead([], ONE_PIXEL.pixels, **({"batch_size": 1, "workers": 1, "depth": 1} | wrong)))
