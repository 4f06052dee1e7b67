"""`--format coreml`: the package is written and checked here; nothing here can run it, and every page says so."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from export.artifact.manifest import check_files, read_manifest
from export.convert.to_coreml import check_coreml, write_coreml
from export.convert.to_program import export_program
from noah.errors import ExportError
from tests.commands import noah
from tests.conftest import PHOTO_CLASSES
from tests.finished import Finished

SHAPE = (1, 3, 4, 4)


def test_its_package_is_what_its_manifest_says(project: Finished) -> None:
    outcome = noah("export", "--format", "coreml")
    assert (outcome.code, outcome.err) == (0, "")
    assert "only a Mac can run it" in outcome.words
    folder = project.artifact("coreml")
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    assert "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin" in manifest.files
    assert manifest.input.shape == (1, 3, 32, 32) and manifest.output.shape == (1, 3)
    (parity,) = manifest.parity
    assert parity.method == "simulated" and "only a Mac can run" in parity.runs_on
    assert [batch.batch for batch in parity.batches] == [1]
    assert parity.images == "18 validation images of shapes, one at a time"
    found = check_coreml(folder / "model.mlpackage", (1, 3, 32, 32), PHOTO_CLASSES)
    assert manifest.types["weights"] == found and found["float32"] > 10
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert "It was not run when it was written" in card and "Simulated, not run" in card
    assert outcome.out.splitlines()[-1].endswith('export/coreml/model.mlpackage") on a Mac')
    verified = noah("verify", "--quick").words
    assert "artifact coreml: its files, weights, subnet and classes match the run" in verified


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("coreml") / "model.mlpackage"
    network = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
    write_coreml(export_program(network, height=4, width=4, batch=1), path, {"noah.classes": ["a", "b"]})
    return path


@pytest.mark.parametrize(
    ("shape", "classes", "check"),
    [
        ((1, 3, 4, 5), ("a", "b"), "shape check"),
        (SHAPE, ("a", "b", "c"), "shape check"),
        (SHAPE, ("b", "a"), "label check"),
    ],
)
def test_another_package_than_asked_for_is_refused(
    package: Path, shape: tuple[int, ...], classes: tuple[str, ...], check: str
) -> None:
    with pytest.raises(ExportError, match=f"fails the {check}"):
        check_coreml(package, shape, classes)


def test_what_cannot_be_converted_is_told_with_the_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(48, 2)

        def forward(self, images: Any) -> Any:
            return self.head(nn.functional.interpolate(images, (4, 4), mode="bicubic", antialias=True).flatten(1))

    with pytest.raises(ExportError, match=r"coremltools 9.* cannot convert the model: .*bicubic"):
        write_coreml(export_program(Sorted(), height=8, width=8, batch=1), tmp_path / "a.mlpackage", {})

    monkeypatch.setitem(sys.modules, "coremltools", None)
    outcome = noah("export", "--format", "coreml")
    assert outcome.error_lines == [
        "Error: coremltools is not installed.",
        "Type: pip install 'noah-prompt-search[coreml]'",
    ]
