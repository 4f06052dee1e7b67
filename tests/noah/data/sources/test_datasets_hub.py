from __future__ import annotations

from pathlib import Path

import pytest

from noah.data.dataset import Dataset
from noah.data.sources.registry import load_dataset
from noah.errors import DatasetNotFoundError, NoahError
from noah.settings.settings import DataSettings
from tests.noah.data.conftest import WriteImages

datasets = pytest.importorskip("datasets", reason="loads through the library datasets")


@pytest.fixture(autouse=True)
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what is prepared in the test's own folder, and ask no hub."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def load(name: str) -> Dataset:
    return load_dataset(DataSettings(dataset=f"hf:{name}"), 0)


def test_what_the_library_finds_at_a_path(tmp_path: Path, write_images: WriteImages) -> None:
    for part, count in (("train", 6), ("test", 2)):
        for name in ("cat", "dog"):
            write_images(tmp_path / "pets" / part / name, count)
    dataset = load(str(tmp_path / "pets"))
    assert dataset.name == "pets" and dataset.classes == ("cat", "dog")
    assert (len(dataset.full_train), len(dataset.load_test())) == (12, 4)
    assert dataset.train.open(0).size == (5, 6)


def test_no_name_and_an_unknown_one(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="names no dataset"):
        load("")
    with pytest.raises(NoahError, match="hf:nobody/nothing"):
        load("nobody/nothing")
