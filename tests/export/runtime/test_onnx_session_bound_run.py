"""Bound input and output, on the device that every machine has; the GPU's differs in its name."""

from __future__ import annotations

from pathlib import Path

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
