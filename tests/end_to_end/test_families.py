"""The road from search to predict, with a backbone of another family from a local file."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file

from tests.commands import Outcome, noah_line, write_settings
from tests.conftest import TinySettings
from tests.noah.architectures import READS_FOLDERS

pytestmark = pytest.mark.slow

BACKBONES = {"eva02_tiny_patch14_224": 28, "test_vit3": 32, "test_vit_relpos": 32}
"""EVA-02 with rotary positions; attention pooling, as in SigLIP; relative positions. With the side of their images."""


def go(line: str) -> Outcome:
    """A command that has to go well."""
    outcome = noah_line(line)
    assert outcome.code == 0, outcome.err
    return outcome


def read(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


@pytest.mark.parametrize("architecture", BACKBONES)
def test_from_search_to_predict(
    architecture: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny_settings: TinySettings, photo_folder: Path
) -> None:
    if not timm.is_model(architecture):
        pytest.skip(f"timm {timm.__version__} has no {architecture}")
    monkeypatch.chdir(tmp_path)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        backbone = timm.create_model(architecture, num_classes=3)
    save_file({name: value.contiguous() for name, value in backbone.state_dict().items()}, "weights.safetensors")
    asked = {
        "backbone.name": "weights.safetensors",
        "backbone.architecture": architecture,
        "backbone.image_size": BACKBONES[architecture],
        "budget.parameters": 200_000,
        "supernet.epochs": 1,
        "retrain.epochs": 1,
    }
    write_settings(tmp_path, tiny_settings(asked))
    go("noah search --run first")
    go("noah retrain")
    tested = go("noah eval").words
    assert "of 18 images right" in tested
    go("noah export --format onnx")
    artifact = "runs/shapes/first/export/onnx-fp32"
    assert max(batch["max_difference"] for batch in read(f"{artifact}/manifest.json")["parity"][0]["batches"]) < 1e-4
    go(f"noah eval {artifact}")
    go("noah export --format safetensors")
    go(f"noah predict {artifact} {photo_folder / 'test'} --out p.csv")
    with Path("p.csv").open(encoding="utf-8", newline="") as file:
        assert len(list(csv.DictReader(file))) == 18
    go("noah retrain --subnet lora:2 --name folded")
    if READS_FOLDERS:
        go("noah export --format timm")
        written: Any = timm.create_model("local-dir:runs/shapes/folded/export/timm", pretrained=True)
        assert type(written) is type(backbone)
    go("noah report")
    go("noah verify")
