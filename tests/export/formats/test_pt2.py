"""`--format pt2`: loaded as the card says, by torch alone, it is the retrained network for any batch."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from export.artifact.manifest import check_files, read_manifest
from export.convert import to_program
from export.formats.load import load_predictor
from tests.commands import noah
from tests.conftest import PHOTO_CLASSES
from tests.finished import UINT8, Finished


def test_the_lines_of_its_card_give_the_network(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = noah("export", "--format", "pt2")
    assert (outcome.code, outcome.err) == (0, "")
    folder = project.artifact("pt2")
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    assert set(manifest.files) == {"model.pt2"}
    assert set(manifest.types["weights"]) == {"float32"}
    (parity,) = manifest.parity
    assert (parity.method, parity.runs_on) == ("run", "torch, by torch.export.load")
    assert [batch.batch for batch in parity.batches] == [1, 2, 32]
    assert outcome.out.splitlines()[-1] == (
        'next      torch.export.load("runs/shapes/first/export/pt2/model.pt2").module()'
    )
    pixels = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    expected = load_predictor(project.artifact(UINT8), provider="cpu", threads=1)
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    lines = [
        line.strip() for line in card.splitlines() if line.startswith(("    extra", "    pro", "    la", "    lo"))
    ]
    assert len(lines) == 4
    verified = noah("verify", "--quick").words
    assert "artifact pt2: its files, weights, subnet and classes match the run" in verified
    monkeypatch.chdir(folder.parent)
    names = {"images": torch.from_numpy(expected.preprocessing.normalize(pixels)), "json": json, "torch": torch}
    exec("\n".join(lines), names)  # the card is ours
    assert names["labels"] == list(PHOTO_CLASSES)
    right = expected.run(pixels)
    assert np.abs(names["logits"].detach().numpy() - right).max() < 1e-4 * np.abs(right).max()
    refused = noah("export", "--format", "pt2", "--precision", "bf16")
    assert "--precision has no effect with --format pt2: for torch, this is chosen" in refused.error_lines[0]


def test_another_network_in_the_file_is_caught(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    load = to_program.load_program

    def load_changed(path: object) -> torch.nn.Module:
        module = load(path)  # type: ignore[arg-type]  # what it is called with
        weight = dict(module.named_parameters())["head.weight"]
        with torch.no_grad():
            weight[1, 7] += 0.01
        return module

    monkeypatch.setattr(to_program, "load_program", load_changed)
    outcome = noah("export", "--format", "pt2")
    assert outcome.code == 1
    assert "fails the check of the largest difference" in outcome.error_lines[0]
    assert not project.artifact("pt2").exists()
