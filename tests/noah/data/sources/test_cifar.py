from __future__ import annotations

import hashlib
import io
import pickle
import tarfile
import urllib.error
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noah.data.sources import cifar
from noah.data.sources.cifar import load_cifar10, load_cifar100
from noah.errors import DatasetNotFoundError, DownloadError

pytest.importorskip("torchvision")

CLASSES = 100


def write_miniature(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cifar-100-python folder with 4 training images and 1 test image a class, whose MD5 torchvision is told."""
    from torchvision.datasets import CIFAR100

    folder = root / CIFAR100.base_folder
    folder.mkdir(parents=True)
    sums = {}
    for name, per_class in (("train", 4), ("test", 1)):
        labels = np.arange(CLASSES * per_class) % CLASSES
        data = np.repeat(labels.astype(np.uint8)[:, None], 3072, axis=1)
        sums[name] = write_pickle(folder / name, {"data": data, "fine_labels": labels.tolist()})
    sums["meta"] = write_pickle(folder / "meta", {"fine_label_names": [f"name {label}" for label in range(CLASSES)]})
    monkeypatch.setattr(CIFAR100, "train_list", [["train", sums["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", sums["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": sums["meta"]})
    monkeypatch.setattr(cifar, "SUBSET_IMAGES", 2 * CLASSES)


def write_pickle(path: Path, content: dict[str, Any]) -> str:
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


def test_a_stratified_subset_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_miniature(tmp_path, monkeypatch)
    dataset = load_cifar100(tmp_path, seed=0, validation_fraction=0.5)
    assert dataset.name == "cifar100" and dataset.classes[99] == "name 99"
    assert np.bincount(dataset.train.labels).tolist() == [1] * CLASSES
    assert np.bincount(dataset.validation.labels).tolist() == [1] * CLASSES
    image = dataset.train.open(5)
    assert image.size == (32, 32) and image.getpixel((1, 2)) == (dataset.train.labels[5],) * 3
    assert dataset.train.name(0).startswith("cifar100/train/")
    test = dataset.load_test()
    assert len(test) == CLASSES and test.name(3) == "cifar100/test/3"
    assert "NOT the split of VTAB-1k" in dataset.notes[0] and "must not be compared" in dataset.notes[0]


def test_cifar10_is_drawn_in_the_same_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    labels = [label for label in range(10) for _ in range(4)]
    content = {"data": np.repeat(np.array(labels, np.uint8)[:, None], 3072, axis=1), "labels": labels}
    for name in ("data_batch_1", "test_batch"):
        monkeypatch.setattr(
            CIFAR10,
            "test_list" if name == "test_batch" else "train_list",
            [[name, write_pickle(folder / name, content)]],
        )
    meta = write_pickle(folder / "batches.meta", {"label_names": [f"name {label}" for label in range(10)]})
    monkeypatch.setattr(CIFAR10, "meta", CIFAR10.meta | {"md5": meta})
    monkeypatch.setattr(cifar, "SUBSET_IMAGES", 20)

    dataset = load_cifar10(tmp_path, seed=0, validation_fraction=0.5)
    assert dataset.name == "cifar10" and dataset.classes[9] == "name 9"
    assert np.bincount(dataset.train.labels).tolist() == np.bincount(dataset.validation.labels).tolist() == [1] * 10
    assert dataset.train.name(0).startswith("cifar10/train/") and len(dataset.load_test()) == 40
    assert "CIFAR-10. This is NOT the split of VTAB-1k, which has no CIFAR-10:" in dataset.notes[0]


def test_missing_cifar10_files_are_told_without_vtab(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match=r"No undamaged CIFAR-10 lies at .*cifar-10-batches-py") as caught:
        load_cifar10(tmp_path, seed=0, validation_fraction=0.2, download=False)
    assert caught.value.hint.startswith("Unpack cifar-10-python.tar.gz") and "vtab" not in caught.value.hint


def test_the_seed_draws_the_subset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_miniature(tmp_path, monkeypatch)
    first, again, other = (
        [split.name(index) for split in (dataset.train, dataset.validation) for index in range(len(split))]
        for dataset in (load_cifar100(tmp_path, seed=seed, validation_fraction=0.5) for seed in (0, 0, 1))
    )
    assert first == again != other


def test_the_test_images_are_loaded_late(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_miniature(tmp_path, monkeypatch)
    dataset = load_cifar100(tmp_path, seed=0, validation_fraction=0.5)
    (tmp_path / "cifar-100-python" / "test").write_bytes(b"damaged meanwhile")
    with pytest.raises(DatasetNotFoundError, match="No undamaged CIFAR-100"):
        dataset.load_test()


def test_no_network_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def fail(url: str, timeout: float) -> Any:
        assert timeout <= 60
        raise urllib.error.URLError(OSError(-3, "Temporary failure in name resolution"))

    monkeypatch.setattr("urllib.request.urlopen", fail)
    with pytest.raises(DownloadError, match="Temporary failure in name resolution") as caught:
        load_cifar100(tmp_path / "data", seed=0, validation_fraction=0.2)
    assert "\n" not in caught.value.problem and "\n" not in caught.value.hint
    assert str(tmp_path / "data" / "vtab-1k" / "cifar") in caught.value.hint
    assert str(tmp_path / "data" / "cifar-100-python") in caught.value.hint
    assert capfd.readouterr() == ("", "")
    assert list((tmp_path / "data").iterdir()) == []


def test_without_download_missing_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(DatasetNotFoundError, match="No undamaged CIFAR-100 lies at") as caught:
        load_cifar100(tmp_path, seed=0, validation_fraction=0.2, download=False)
    assert "vtab-1k" in caught.value.hint


def serve(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("urllib.request.urlopen", lambda url, timeout: io.BytesIO(content))


def test_a_download_is_checked_and_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from torchvision.datasets import CIFAR100

    write_miniature(tmp_path / "source", monkeypatch)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(tmp_path / "source" / "cifar-100-python", "cifar-100-python")
    monkeypatch.setattr(CIFAR100, "tgz_md5", hashlib.md5(packed.getvalue()).hexdigest())
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / CIFAR100.filename).write_bytes(b"half of an old download")
    serve(packed.getvalue(), monkeypatch)
    assert len(load_cifar100(tmp_path / "data", seed=0, validation_fraction=0.5).train) == CLASSES
    assert capfd.readouterr() == ("", "")


def test_a_damaged_download_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serve(b"<html>a login page</html>", monkeypatch)
    with pytest.raises(DownloadError, match=r"the checksum of .*cifar-100-python\.tar\.gz is wrong"):
        load_cifar100(tmp_path, seed=0, validation_fraction=0.2)
