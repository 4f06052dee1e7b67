"""A model repository: the folders that Triton looks for, and a configuration that fits the model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from export.artifact.manifest import check_files, read_manifest
from export.artifact.records import ModelInput, ModelOutput
from export.convert.to_triton import arrange_repository, config_text, model_name
from export.runtime.onnx_session import open_session
from export.runtime.profile import Profile
from export.runtime.tensorrt_package import choose_served, why_not_served
from tests.commands import noah
from tests.conftest import PHOTO_CLASSES
from tests.finished import Finished

IMAGES = ModelInput(name="images", shape=("batch", 3, 6, 8), type="float32", layout="NCHW", values="normalized")
LOGITS = ModelOutput(name="logits", shape=("batch", 4), type="float32", values="logits")


def test_an_export_is_a_repository_with_its_proof(project: Finished) -> None:
    outcome = noah("export", "--format", "triton", "--input", "uint8", "--batch", "1:4:16")
    assert (outcome.code, outcome.err) == (0, "")
    if why_not_served("fp32"):
        assert f"serves the ONNX file ({why_not_served('fp32')})" in outcome.words
        assert choose_served("fp32") is None
    folder = project.artifact("triton-fp32-uint8")
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    assert manifest.format == "triton"
    assert {"models/shapes/config.pbtxt", "models/shapes/labels.txt", "models/shapes/1/model.onnx"} == set(
        manifest.files
    )
    assert [batch.batch for batch in manifest.parity[0].batches] == [1, 4, 16]
    assert (folder / "models/shapes/labels.txt").read_text().splitlines() == list(PHOTO_CLASSES)
    last = outcome.out.splitlines()[-1]
    assert last == "next      tritonserver --model-repository runs/shapes/first/export/triton-fp32-uint8/models"
    assert "tritonserver --model-repository triton-fp32-uint8/models" in (folder / "model_card.md").read_text()


def test_its_configuration_is_that_of_the_model(project: Finished) -> None:
    assert noah("export", "--format", "triton", "--input", "uint8", "--batch", "1:4:16").code == 0
    model = project.artifact("triton-fp32-uint8") / "models" / "shapes"
    text = (model / "config.pbtxt").read_text()
    session = open_session(model / "1" / "model.onnx", provider="cpu")
    for section, tensor in (("input", session.inputs[0]), ("output", session.outputs[0])):
        found = re.search(section + r' \[\s*\{ name: "(\w+)" data_type: TYPE_(\w+) dims: \[ ([\d, ]+) \]', text)
        assert found is not None
        assert found[1] == tensor.name
        assert {"FP32": "float32", "UINT8": "uint8"}[found[2]] == tensor.type
        assert tuple(map(int, found[3].split(","))) == tensor.shape[1:]
    assert "max_batch_size: 16\n" in text
    assert "preferred_batch_size: [ 4 ]" in text
    assert session.run(np.zeros((16, 32, 32, 3), np.uint8)).shape == (16, 3)


def test_noah_does_not_run_it_and_says_what_does(project: Finished) -> None:
    assert noah("export", "--format", "triton").code == 0
    outcome = noah("predict", project.artifact("triton-fp32"), "x.png")
    assert outcome.code == 1
    assert "is of format triton, which noah itself does not run." in outcome.error_lines[0]
    assert "Run it with: tritonserver --model-repository " in outcome.error_lines[1]


def test_an_engine_becomes_the_plan(tmp_path: Path) -> None:
    (tmp_path / "model.engine").write_bytes(b"engine")
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    arrange_repository(tmp_path, "digits", ("a\nb", "c"), IMAGES, LOGITS, Profile(1, 1, 8))
    assert (tmp_path / "models/digits/1/model.plan").read_bytes() == b"engine"
    assert (tmp_path / "model.onnx").is_file()  # for other GPUs
    text = (tmp_path / "models/digits/config.pbtxt").read_text()
    assert 'platform: "tensorrt_plan"' in text
    assert "preferred_batch_size" not in text
    assert (tmp_path / "models/digits/labels.txt").read_text() == "a b\nc\n"


def test_weights_beside_the_file_come_along(tmp_path: Path) -> None:
    for name in ("model.onnx", "model.onnx.data"):
        (tmp_path / name).write_bytes(b"x")
    arrange_repository(tmp_path, "digits", ("a",), IMAGES, LOGITS, Profile(1, 2, 8))
    assert {path.name for path in (tmp_path / "models/digits/1").iterdir()} == {"model.onnx", "model.onnx.data"}


@pytest.mark.parametrize(
    ("dataset", "name"), [("digits", "digits"), ("my photos", "my_photos"), ("food-101", "food_101"), ("鳥", "model")]
)
def test_names_are_plain(dataset: str, name: str) -> None:
    assert model_name(dataset) == name


def test_the_text_of_a_configuration() -> None:
    assert config_text("digits", "onnxruntime_onnx", IMAGES, LOGITS, Profile(1, 8, 32)) == (
        'name: "digits"\n'
        'platform: "onnxruntime_onnx"\n'
        "max_batch_size: 32\n"
        "input [\n"
        '  { name: "images" data_type: TYPE_FP32 dims: [ 3, 6, 8 ] }\n'
        "]\n"
        "output [\n"
        '  { name: "logits" data_type: TYPE_FP32 dims: [ 4 ] label_filename: "labels.txt" }\n'
        "]\n"
        "dynamic_batching {\n"
        "    preferred_batch_size: [ 8 ]\n"
        "    max_queue_delay_microseconds: 1000\n"
        "}\n"
    )
