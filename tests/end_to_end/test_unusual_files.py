"""The road with files as people have them: 12 bits in 16, transparent, HEIC, cut short, and some that are no images."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export.artifact.manifest import read_manifest
from noah.data.formats import HEIC, import_decoder
from tests.commands import noah, write_settings
from tests.conftest import TinySettings
from tests.noah.data.test_deep import deep_png


def spoil(folder: Path) -> dict[str, Path]:
    """Rewrite images of one class as other kinds of files; the test split gets a broken one and a cut one."""
    names = ("deep", "clear", "photo", "cut", "broken")
    paths = dict(zip(names, sorted((folder / "train" / "circle").iterdir())[:5], strict=True))
    tested = sorted((folder / "test" / "circle").iterdir())
    paths |= {"test cut": tested[0], "test broken": tested[1]}
    pixels = {name: Image.open(path).convert("RGB").resize((160, 160)) for name, path in paths.items()}
    paths["deep"].write_bytes(deep_png((np.asarray(pixels["deep"]).astype(np.uint16)) * 16 + 15))
    pixels["clear"].putalpha(Image.new("L", (160, 160), 128))
    pixels["clear"].save(paths["clear"])
    import_decoder(HEIC)
    pixels["photo"].save(paths["photo"], "HEIF")
    for name in ("cut", "test cut"):
        pixels[name].save(paths[name], "JPEG")
        paths[name].write_bytes(paths[name].read_bytes()[:-200])
    for name in ("broken", "test broken"):
        paths[name].write_text("<html>404</html>")
    return paths


@pytest.mark.slow
def test_the_road_with_unusual_files(
    tmp_path: Path, tiny_settings: TinySettings, photo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    paths = {
        name: path.relative_to(tmp_path)
        for name, path in spoil(shutil.copytree(photo_folder, tmp_path / "photos")).items()
    }
    write_settings(tmp_path, tiny_settings({"data.folder": "photos"}))
    refused = noah("retrain", "--subnet", "lora:2", "--name", "first")
    assert refused.code == 1 and "1 of 54 images cannot be read" in refused.err
    assert str(paths["broken"]) in Path("runs/photos-damaged.csv").read_text()

    share = ("--set", "data.damaged_share=0.1")
    trained = noah("retrain", "--subnet", "lora:2", "--name", "first", "--alpha", "black", *share)
    assert trained.code == 0, trained.err
    for told in (
        "1 of 54 images end too early and are decoded as far as they go",
        "1 of 54 images cannot be read and are left out; up to 10 % may be",
        "1 of 54 images are transparent in places: they are laid on black, as --alpha says",
        "1 of 54 images have 16 bits a channel; their values are read as 12 bits (the largest value is 4,095)",
    ):
        assert told in trained.words
    run = Path("runs/photos/first")
    with (run / "damaged.csv").open(newline="") as file:
        assert [(row["file"], row["done"]) for row in csv.DictReader(file)] == [
            (str(paths["cut"]), "repaired"),
            (str(paths["broken"]), "left out"),
        ]

    measured = noah("eval")
    assert measured.code == 0, measured.err
    assert "not measured: 1 of 18 test images, which cannot be read" in measured.words
    result = json.loads((run / "eval" / "test.json").read_text())
    assert result["total"] == 17 and result["repaired"] == 1
    assert result["left_out"] == {"of": 18, "images": [str(paths["test broken"])]}

    assert noah("export", "--format", "onnx").code == 0
    artifact = run / "export" / "onnx-fp32"
    assert read_manifest(artifact).decoding == {"alpha": "black", "bit_depth": 12, "repair": True}
    assert noah("eval", artifact).code == 0
    assert json.loads((run / "eval" / "artifact" / "onnx-fp32.json").read_text())["correct"] == result["correct"]
    predicted = noah("predict", artifact, "photos/test", "--out", "predictions.csv")
    assert predicted.code == 0 and str(paths["test broken"]) in predicted.err
    with Path("predictions.csv").open(newline="") as file:
        right = sum(Path(row["path"]).parent.name == row["label"] for row in csv.DictReader(file))
    assert right == result["correct"]
    assert noah("verify").code == 0
