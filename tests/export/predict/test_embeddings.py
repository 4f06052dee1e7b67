"""Embeddings in .npy files that NumPy itself reads, however many rows they turn out to have."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.predict.embeddings import open_embeddings
from noah.errors import UsageError


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(1, 9))
def test_numpy_reads_what_was_written_batch_by_batch(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], width: int
) -> None:
    path = tmp_path_factory.mktemp("embeddings") / "features.npy"
    batches = [np.random.default_rng(size).normal(size=(size, width)).astype(np.float32) for size in sizes]
    with open_embeddings(path) as file:
        for batch in batches:
            file.write(batch)
    found = np.load(path, mmap_mode="r" if sum(sizes) else None)
    assert found.dtype == np.float32
    assert found.flags.aligned
    np.testing.assert_array_equal(found, np.concatenate([np.zeros((0, width if sizes else 0), np.float32), *batches]))
    assert file.rows == sum(sizes)


def test_an_interruption_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_embeddings(tmp_path / "features.npy") as file:
        file.write(np.ones((2, 3), np.float32))
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_names_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "file").write_text("")
    for name, told in (("features.csv", "written as .npy"), ("folder.npy", "is not a file"), ("file/a.npy", "folder")):
        with pytest.raises(UsageError, match=told), open_embeddings(tmp_path / name):
            pass
