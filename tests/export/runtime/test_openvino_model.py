"""Networks that OpenVINO runs: what they compute, in what, in how many streams, and what their files carry."""

from __future__ import annotations

import json
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from export.artifact.metadata import write_metadata
from export.artifact.records import Precision
from export.convert.image_input import resizing_graph
from export.convert.small_model import write_small_model
from export.convert.to_openvino import check_computed, write_openvino
from export.formats.openvino import IR_FILE
from export.runtime.onnx_session import open_session
from export.runtime.openvino_model import (
    PROVIDER,
    choose_hint,
    is_openvino,
    load_openvino,
    open_openvino,
    openvino_core,
    write_notes,
)
from noah.data.pixels.preprocessing import Preprocessing, Resize
from noah.errors import ArtifactError, ExportError, UsageError
from tests.commands import run_python

CAPABILITIES = openvino_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def images(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3, 4, 4)).astype(np.float32)


@pytest.fixture(params=["fp32", "fp16", "bf16", "int8"])
def precision(request: pytest.FixtureRequest) -> Precision:
    return request.param  # type: ignore[no-any-return]  # one of the four


@pytest.fixture
def graph(tmp_path: Path, precision: Precision) -> Path:
    return write_small_model(tmp_path, "int8" if precision == "int8" else "fp32")


def test_streams_give_what_single_requests_give(graph: Path, precision: Precision) -> None:
    model, values = open_openvino(graph, precision, threads=2), images(9)
    together = model.run(values)
    assert together.shape == (9, 32)
    alone = np.concatenate([model.run(values[row : row + 1]) for row in range(9)])
    assert np.allclose(together, alone, atol=1e-5)
    assert np.array_equal(together, model.run(values))
    expected = open_session(graph, provider="cpu", threads=1).run(values)
    in_half = 0.1 if "FP16" in CAPABILITIES else 1e-4  # without instructions for it, fp16 is computed in fp32
    assert np.allclose(together, expected, atol={"fp32": 1e-4, "fp16": in_half}.get(precision, 0.3))


@pytest.mark.parametrize("size", [2, 32])  # a single request, and several at a time
def test_threads_that_share_a_model_get_their_own_answers(tmp_path: Path, size: int) -> None:
    model = open_openvino(write_small_model(tmp_path, "fp32"), "fp32", threads=2)
    batches = [images(size), images(size) + 1]
    expected = [model.run(values) for values in batches]

    def differing(one: int) -> int:
        return sum(not np.array_equal(model.run(batches[one]), expected[one]) for _ in range(40))

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(differing, (0, 1))) == [0, 0]


TWO = """
import os, signal, sys
from pathlib import Path
from export.runtime.openvino_model import open_openvino

first, second = (open_openvino(Path(sys.argv[1]), "fp32", threads=1) for _ in range(2))
del first
del second
signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever this was started with
try:
    os.kill(os.getpid(), signal.SIGINT)
    signal.sigtimedwait([], 5)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the stack of signals is Linux's")
def test_ctrl_c_is_heard_after_several_networks_were_open(tmp_path: Path) -> None:
    """The next signal would end the process if OpenVINO had taken its stack away."""
    outcome = run_python(TWO, write_small_model(tmp_path, "fp32"), folder=tmp_path)
    assert (outcome.code, outcome.out) == (0, "interrupted\n")


def test_what_was_computed_in_is_read_back(graph: Path, precision: Precision, tmp_path: Path) -> None:
    write_metadata(graph, {})
    write_openvino(graph, tmp_path / IR_FILE, precision)
    model = open_openvino(tmp_path / IR_FILE, precision, threads=1)
    found = model.computed_types()
    hint, why = choose_hint(precision, CAPABILITIES)
    low = {"bf16": "bfloat16", "f16": "float16"}.get(hint, "float32")
    assert found["Convolution"] == {low: 1}
    assert found["FullyConnected"] == ({"int8": 1} if precision == "int8" else {low: 1})
    assert check_computed(found, precision, 1).startswith("products: ")
    assert model.reason.startswith(why)


@pytest.mark.parametrize(
    ("precision", "capabilities", "hint", "why"),
    [
        ("fp32", ["BF16"], "f32", "computes in float32"),
        ("bf16", ["BF16"], "bf16", "computes in bf16"),
        ("bf16", [], "f32", "computes in float32, because this CPU has no bf16"),
        ("fp16", ["BF16"], "f32", "computes in float32, because this CPU has no fp16"),
        ("fp16", ["FP16"], "f16", "computes in fp16"),
        ("int8", ["BF16"], "f32", "computes in 8 bits and float32"),
    ],
)
def test_no_other_half_precision_takes_the_place_of_the_one_asked_for(
    precision: Precision, capabilities: list[str], hint: str, why: str
) -> None:
    assert choose_hint(precision, capabilities) == (hint, why)


@pytest.mark.parametrize(
    ("found", "precision", "message"),
    [
        ({"FullyConnected": {"bfloat16": 3}}, "fp32", "3 products are in bfloat16, but fp32 needs float32"),
        ({"MatMul": {"bfloat16": 1}}, "fp16", "1 products are in bfloat16, but fp16 needs float16 or float32"),
        ({"FullyConnected": {"float32": 3}}, "int8", "of 7 products in 8 bits, OpenVINO runs none so"),
        ({"Softmax": {"float32": 3}}, "fp32", "it has no products"),
    ],
)
def test_a_network_that_computes_in_something_else_is_refused(
    found: dict[str, dict[str, int]], precision: Precision, message: str
) -> None:
    with pytest.raises(ExportError, match=message):
        check_computed(found, precision, 7)


@settings(max_examples=20, deadline=None)
@given(classes=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=4))
def test_any_label_survives_in_the_file(classes: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    openvino, folder = load_openvino(), tmp_path_factory.mktemp("labels")
    value = openvino.opset13.parameter([-1, 2], np.float32, name="images")
    network = openvino.Model([openvino.opset13.relu(value)], [value])
    network.input(0).tensor.set_names({"images"})
    network.output(0).tensor.set_names({"logits"})
    write_notes(network, {"noah.classes": classes, "noah.temperature": 1.5})
    openvino.save_model(network, folder / IR_FILE)
    metadata = open_openvino(folder / IR_FILE, "fp32", threads=1).metadata
    assert json.loads(metadata["noah.classes"]) == classes
    assert json.loads(metadata["noah.temperature"]) == 1.5


def test_what_does_not_open_or_run_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / IR_FILE).write_text("<net")
    with pytest.raises(ArtifactError, match=r"Cannot open .*model\.xml"):
        open_openvino(tmp_path / IR_FILE, "fp32", threads=1)
    model = open_openvino(write_small_model(tmp_path, "fp32"), "fp32", threads=1)
    for shape in ((2, 3), (2, 3, 5, 4)):
        with pytest.raises(ArtifactError, match=r"The model takes \(batch, 3, 4, 4\), not \(2, 3"):
            model.run(np.zeros(shape, np.float32))
    with pytest.raises(ArtifactError, match=r"The model failed on a batch of 2 images: .*\n.*--batch-size"):
        model.run(np.array([[[["a"] * 4] * 4] * 3] * 2))
    with pytest.raises(ExportError, match="OpenVINO cannot convert the model"):
        (tmp_path / "bad.onnx").write_bytes(b"")
        write_openvino(tmp_path / "bad.onnx", tmp_path / IR_FILE, "fp32")
    with pytest.raises(UsageError, match="--provider tensorrt does not run"):
        open_openvino(tmp_path / "model.onnx", "fp32", provider="tensorrt")


def test_its_names() -> None:
    assert all(map(is_openvino, ("openvino", "OpenVINO", PROVIDER)))
    assert not any(map(is_openvino, (None, "cpu", "cuda", "OpenVINOExecutionProvider")))


@pytest.mark.skipif(
    load_openvino().__version__ < "2026",
    reason="openvino 2025.3 resizes otherwise; the export refuses it",
)
@settings(max_examples=12)
@given(
    size=st.tuples(st.integers(1, 90), st.integers(1, 90)),
    resize=st.sampled_from(["squash", "crop"]),
    interpolation=st.sampled_from(["bilinear", "bicubic"]),
)
def test_images_are_resized_as_pillow_does(size: tuple[int, int], resize: Resize, interpolation: str) -> None:
    how = Preprocessing(24, 24, resize, 0.9, interpolation, (0.5,) * 3, (0.5,) * 3)
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(resizing_graph(how, 20), str(Path(folder, "resizing.onnx")))
        found = open_openvino(Path(folder, "resizing.onnx"), "fp32", threads=1).run(image[None])[0]
    assert np.abs(found - how.pixels(Image.fromarray(image))).max() <= 1
