"""Bound input and output, on the device that every machine has; the GPU's differs in its name."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from export.runtime.onnx_session import BoundRun, OpenSession, open_session
from tests.export.tiny_artifact import HEIGHT, WIDTH, Kind, logits_by_hand, make_model


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)


def opened(folder: Path, kind: Kind) -> OpenSession:
    onnx.save(make_model(kind), folder / "model.onnx")
    return open_session(folder / "model.onnx", provider="cpu", threads=1)


def test_batches_of_any_size_give_what_they_should(tmp_path: Path) -> None:
    run = BoundRun(opened(tmp_path, "uint8").session, "cpu")
    for count in (4, 4, 2, 4, 1):  # of the same shape, smaller, larger
        assert run(pixels(count)) == pytest.approx(logits_by_hand(pixels(count)), abs=1e-4)


def test_an_earlier_output_is_not_overwritten(tmp_path: Path) -> None:
    run = BoundRun(opened(tmp_path, "uint8").session, "cpu")
    first = run(pixels(3))
    kept = first.copy()
    run(pixels(3)[::-1])
    assert np.array_equal(first, kept)
    assert not np.array_equal(run(pixels(3)[::-1]), kept)


class Slow:
    """A session that gives other threads the time to spoil what is bound before it runs."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, binding: object) -> None:
        time.sleep(0.005)
        self._session.run_with_iobinding(binding)


def test_threads_that_share_it_get_their_own_answers(tmp_path: Path) -> None:
    run = BoundRun(Slow(opened(tmp_path, "uint8").session), "cpu")
    values = [pixels(4), 255 - pixels(4)]
    expected = [run(each.copy()) for each in values]  # a copy, as the CPU's buffer is the first array itself

    def differing(place: int) -> int:
        return sum(not np.array_equal(run(values[place].copy()), expected[place]) for _ in range(20))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(differing, (0, 1))) == [0, 0]


def test_memory_that_does_not_lie_in_a_row_is_copied(tmp_path: Path) -> None:
    session = opened(tmp_path, "float32")
    values = np.zeros((2, HEIGHT, WIDTH, 3), np.float32).transpose(0, 3, 1, 2)
    assert not values.flags.c_contiguous
    assert np.array_equal(BoundRun(session.session, "cpu")(values), session.run(values))


def test_a_session_is_bound_where_it_runs_on_a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(tmp_path, "uint8")
    assert session._bound is None
    devices: list[str] = []

    class Recorded(BoundRun):
        def __init__(self, session: object, device: str) -> None:
            devices.append(device)
            super().__init__(session, "cpu")

    monkeypatch.setattr("export.runtime.onnx_session.BoundRun", Recorded)
    on_gpu = OpenSession(session.session, "CUDAExecutionProvider", "the test says so")
    for _ in range(2):
        assert np.array_equal(on_gpu.run(pixels(2)), session.run(pixels(2)))
    assert devices == ["cuda"]  # once, and kept
