"""An artifact that takes images of any size."""

from __future__ import annotations

import contextlib
import json

import numpy as np
import openvino
import pytest
from PIL import Image

from export.artifact.manifest import read_manifest
from export.formats.load import load_predictor
from export.write import image_input
from export.write.proof import BEFORE_RESIZING
from tests.commands import noah
from tests.finished import UINT8, Finished

NAME = "onnx-fp32-image"


@pytest.fixture(scope="module")
def for_images(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The finished run with one more artifact, which was tested; not to be written to."""
    copied = finished.copy(tmp_path_factory.mktemp("images"))
    with contextlib.chdir(copied.folder):
        exported = noah("export", "--format", "onnx", "--input", "image")
        tested = noah("eval", f"runs/shapes/first/export/{NAME}")
        by_openvino = noah("export", "--format", "openvino", "--input", "image")
        if openvino.__version__ < "2026":
            assert by_openvino.code == 1 and "Use --input uint8" in by_openvino.err
            pytest.skip("openvino 2025.3 resizes otherwise, and the export refuses it")
        assert by_openvino.code == 0 and "of 255 at most (OpenVINO CPU)" in by_openvino.words
    return Finished(copied.folder, {"export": exported, "eval": tested})


def test_it_takes_images_of_any_size_and_tells_how_near_it_is(for_images: Finished) -> None:
    outcome = for_images.outcomes["export"]
    assert outcome.code == 0, outcome.err
    manifest = read_manifest(for_images.artifact(NAME))
    assert manifest.input.shape == ("batch", "height", "width", 3)
    assert "resizing of 18 images" in outcome.words
    references = [parity.reference for parity in manifest.parity]
    assert "the same network on pixels that Pillow resized" in references
    assert references[-1] == "noah predict with the same model"  # predict.py, to the bit
    for name in (NAME, NAME.replace("onnx", "openvino")):
        first, *others = read_manifest(for_images.artifact(name)).parity
        assert first.runs_on.endswith(f", {BEFORE_RESIZING}")
        assert not any(BEFORE_RESIZING in other.runs_on for other in others)
    card = (for_images.artifact(NAME) / "model_card.md").read_text()
    assert "decoded uint8 images (batch, height, width, 3), RGB, of any size" in card


@pytest.mark.parametrize(
    ("name", "provider"), [(NAME, "cpu"), (NAME, "openvino"), (NAME.replace("onnx", "openvino"), None)]
)
def test_it_sees_what_the_artifact_of_pixels_sees(for_images: Finished, name: str, provider: str | None) -> None:
    of_pixels = load_predictor(for_images.artifact(UINT8), provider="cpu")
    of_images = load_predictor(for_images.artifact(name), provider=provider)
    rng = np.random.default_rng(0)
    for size in ((40, 60), (300, 200), (33, 33)):
        image = Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        expected = of_pixels.probabilities(of_pixels.pixels(image)[None])
        np.testing.assert_allclose(of_images.probabilities([of_images.pixels(image)]), expected, atol=0.02)


def test_it_is_tested_at_the_sizes_of_the_files(for_images: Finished) -> None:
    assert for_images.outcomes["eval"].code == 0, for_images.outcomes["eval"].err
    folder = for_images.run / "eval" / "artifact"
    result = json.loads((folder / f"{NAME}.json").read_text())
    assert result["total"] == 18
    with contextlib.chdir(for_images.folder):
        assert noah("eval", f"runs/shapes/first/export/{UINT8}").code == 0
    assert abs(json.loads((folder / f"{UINT8}.json").read_text())["correct"] - result["correct"]) <= 1


def test_resizing_that_differs_is_refused(project: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    right = image_input.resizing_graph

    def not_antialiased(*arguments: object) -> object:
        graph = right(*arguments)  # type: ignore[arg-type]  # whatever it is given
        for node in graph.graph.node:
            for attribute in node.attribute:
                if attribute.name == "cubic_coeff_a":
                    attribute.f = -1.5
        return graph

    monkeypatch.setattr(image_input, "resizing_graph", not_antialiased)
    outcome = noah("export", "--format", "onnx", "--input", "image")
    assert outcome.code == 1
    assert "does not resize as in training" in outcome.err
    assert not (project.artifact().parent / NAME).exists()


@pytest.mark.parametrize(
    ("format_", "why"), [("trt", "TensorRT has no antialiased resizing"), ("triton", "the server")]
)
def test_formats_that_cannot_are_refused(project: Finished, format_: str, why: str) -> None:
    outcome = noah("export", "--format", format_, "--input", "image")
    assert outcome.code == 2
    assert why in outcome.err
