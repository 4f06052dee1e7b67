"""Datasets at the ends of what people bring: two training images of odd kinds, one validation image, many classes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.commands import Outcome, noah_line, write_settings
from tests.conftest import TinySettings

pytestmark = pytest.mark.slow

FLOAT = "onnx-fp32"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def go(line: str) -> Outcome:
    """A command that has to go well."""
    outcome = noah_line(line)
    assert outcome.code == 0, outcome.err
    return outcome


def read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


def write_odd_images(folder: Path) -> None:
    """Two images to train on, one to validate, and four kinds to test."""
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape).astype(np.uint8)

    for part in ("train/dark", "train/light", "val/dark", "test/dark", "test/light"):
        (folder / part).mkdir(parents=True)
    Image.fromarray(noise(1, 1, 3)).save(folder / "train/dark/one_pixel.png")
    Image.fromarray(noise(9, 12, 4), "RGBA").save(folder / "train/light/alpha.png")
    Image.fromarray(np.full((5, 4), 9000, np.uint16)).save(folder / "val/dark/deep.png")
    Image.fromarray(noise(7, 7, 2), "LA").save(folder / "test/dark/gray_alpha.png")
    Image.fromarray(noise(2, 3000, 3)).save(folder / "test/dark/wide.jpg")
    Image.fromarray(noise(16, 16, 4), "CMYK").save(folder / "test/light/cmyk.jpg")
    Image.fromarray(noise(8, 8, 3)).quantize(8).save(folder / "test/light/palette.png", transparency=bytes(range(8)))


def test_two_images_to_train_on_and_one_to_validate(folder: Path, tiny_settings: TinySettings) -> None:
    """A batch larger than the set, every figure from one image, and odd kinds of files all the way to `predict`."""
    write_odd_images(folder / "odd")
    write_settings(folder, tiny_settings({"data.folder": "odd", "supernet.batch_size": 64, "retrain.batch_size": 64}))
    out = go("noah search --run first").words
    assert "2 classes, 2 training and 1 validation images" in out
    assert "1 of 2 classes has too few images to appear in validation: light." in out
    best = read("runs/odd/first/search/best.json")
    assert (best["total"], best["evaluated"]) == (1, best["planned"])
    assert best["accuracy"] in (0, 1)
    go("noah retrain")
    assert read("runs/odd/first/retrain/model.json")["images"] == 3
    assert "of 4 images right" in go("noah eval").words
    go("noah export --format onnx")
    artifact = f"runs/odd/first/export/{FLOAT}"
    go(f"noah eval {artifact}")
    go(f"noah predict {artifact} odd/test --out p.csv")
    with Path("p.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    kept = read("runs/odd/first/eval/predictions/test.json")
    names = sorted(map(str, Path("odd/test").glob("*/*")))
    assert sorted(rows) == names
    for name, predicted, confidence in zip(names, kept["predicted"], kept["confidence"], strict=True):
        assert rows[name]["label"] == ("dark", "light")[predicted]
        assert float(rows[name]["probability"]) == pytest.approx(confidence, abs=1e-4)
    go("noah report")
    go("noah verify")


CLASSES = 1000


def test_a_thousand_classes(folder: Path, tiny_settings: TinySettings) -> None:
    """Nothing that is written or printed grows with the square of the number of classes."""
    rng = np.random.default_rng(0)
    for label in range(CLASSES):
        image = Image.fromarray(rng.integers(0, 256, (4, 4, 3)).astype(np.uint8))
        for part in ("train", "val", "test"):
            path = folder / "many" / part / f"class {label:03}"
            path.mkdir(parents=True)
            image.save(path / "0.png", compress_level=0)
    once = {"supernet.epochs": 1, "retrain.epochs": 1, "search.generations": 0, "search.population": 2}
    images = {"data.folder": "many", "data.allow_copies": True}  # the same image in each split
    changes = {**images, "supernet.batch_size": 128, "retrain.batch_size": 128, **once}
    write_settings(folder, tiny_settings(changes))
    printed = [
        go(line)
        for line in ("noah search --run first", "noah retrain", "noah eval", "noah export --format onnx", "noah report")
    ]
    assert all(len(outcome.out) < 5000 for outcome in printed)
    run = folder / "runs" / "many" / "first"
    result = json.loads((run / "eval" / "test.json").read_text())
    assert sum(images for *_, images in result["confusions"]) == result["total"] == CLASSES
    assert len(result["class_accuracy"]) == CLASSES
    sizes = {str(path.relative_to(run)): path.stat().st_size for path in run.rglob("*") if path.is_file()}
    weights = ("checkpoint.safetensors", "model.onnx")
    assert max(size for name, size in sizes.items() if not name.endswith(weights)) < 600_000, sizes
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "Confusion matrix of the 25 of 1,000 classes with the most mistakes" in page


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("one block", {"backbone.architecture": "vit_of_one_block"}),
        ("no module", {"space.prompt": [], "space.lora": [], "space.adapter": []}),
    ],
)
def test_small_spaces(
    name: str, changes: dict[str, Any], folder: Path, tiny_settings: TinySettings, photo_folder: Path, one_block: Path
) -> None:
    if name == "one block":
        changes = {**changes, "backbone.name": str(one_block)}
    write_settings(folder, tiny_settings({**changes, "supernet.epochs": 1, "retrain.epochs": 1}))
    go("noah search --run first")
    best = read("runs/shapes/first/search/best.json")
    if name == "no module":
        assert (best["planned"], best["parameters"]) == (1, 0)
    if name == "one block":
        assert [len(widths) for widths in best["subnet"].values()] == [1, 1, 1]
    go("noah retrain")
    go("noah export --format onnx")
    parity = read(f"runs/shapes/first/export/{FLOAT}/manifest.json")["parity"]
    assert parity


@pytest.fixture(scope="module")
def one_block(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a backbone of one block, whose architecture timm then knows by the name vit_of_one_block."""
    import torch
    from safetensors.torch import save_file
    from timm.models import register_model
    from timm.models.vision_transformer import VisionTransformer, _create_vision_transformer

    @register_model
    def vit_of_one_block(pretrained: bool = False, **options: Any) -> VisionTransformer:
        sizes = {"patch_size": 16, "embed_dim": 64, "depth": 1, "num_heads": 2}
        return _create_vision_transformer("vit_of_one_block", pretrained=pretrained, **{**sizes, **options})

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = vit_of_one_block(img_size=32, num_classes=0)
    path = tmp_path_factory.mktemp("one") / "one_block.safetensors"
    save_file(model.state_dict(), path)
    return path
