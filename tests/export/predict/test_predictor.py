from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from export.artifact.manifest import read_manifest, write_manifest
from export.artifact.records import ModelInput, ModelOutput
from export.predict.predictor import Predictor, load_predictor
from export.runtime.onnx_session import CPU
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ArtifactError, UsageError
from tests.export.tiny_artifact import (
    CLASSES,
    HEIGHT,
    PREPROCESSING,
    WIDTH,
    Kind,
    logits_by_hand,
    make_artifact,
    make_model,
    probabilities_by_hand,
)


def random_pixels(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, HEIGHT, WIDTH, 3), dtype=np.uint8)


@pytest.fixture(scope="module", params=["float32", "uint8", "image"])
def predictor(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    folder = make_artifact(tmp_path_factory.mktemp("predictor") / "artifact", request.param)
    return load_predictor(folder, provider="cpu", threads=1)


@settings(max_examples=25)
@given(count=st.integers(1, 9), seed=st.integers(0, 2**32 - 1))
def test_outputs_are_those_by_hand_for_any_batch(predictor: Predictor, count: int, seed: int) -> None:
    pixels = random_pixels(count, seed)
    logits, probabilities = predictor.run(pixels), predictor.probabilities(pixels)
    assert logits.dtype == probabilities.dtype == np.float32
    np.testing.assert_allclose(logits, logits_by_hand(pixels), atol=1e-4)
    np.testing.assert_allclose(probabilities, probabilities_by_hand(pixels), atol=1e-5)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-6)


def test_what_the_artifact_is_can_be_read(predictor: Predictor) -> None:
    assert predictor.classes == CLASSES
    assert predictor.preprocessing == PREPROCESSING
    assert predictor.manifest.dataset == "tiny"
    assert (predictor.provider, predictor.provider_reason.split(";")[0]) == (CPU, "asked for")


@pytest.mark.parametrize("name", ["", "model.onnx", "manifest.json"])
def test_the_folder_or_one_of_its_two_files_is_taken(tmp_path: Path, name: str) -> None:
    folder = make_artifact(tmp_path / "artifact")
    assert load_predictor(folder / name, provider="cpu").manifest == read_manifest(folder)


def test_probabilities_of_the_model_are_left_alone(tmp_path: Path) -> None:
    output = ModelOutput(name="logits", shape=("batch", len(CLASSES)), type="float32", values="probabilities")
    folder = make_artifact(tmp_path / "artifact", model=make_model(probabilities=True), output=output)
    predictor, pixels = load_predictor(folder, provider="cpu"), random_pixels(3)
    np.testing.assert_allclose(predictor.probabilities(pixels), probabilities_by_hand(pixels), atol=1e-5)
    np.testing.assert_array_equal(predictor.run(pixels), predictor.probabilities(pixels))


def test_half_precision_outputs_come_back_as_float32(tmp_path: Path) -> None:
    model = make_model()
    model.graph.node[-1].output[0] = "wide"
    model.graph.node.append(helper.make_node("Cast", ["wide"], ["logits"], to=onnx.TensorProto.FLOAT16))
    model.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    output = ModelOutput(name="logits", shape=("batch", len(CLASSES)), type="float16", values="logits")
    predictor = load_predictor(make_artifact(tmp_path / "artifact", model=model, output=output), provider="cpu")
    logits = predictor.run(random_pixels(2))
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, logits_by_hand(random_pixels(2)), rtol=2e-3, atol=2e-3)


def test_huge_logits_do_not_overflow(tmp_path: Path) -> None:
    model = make_model()
    model.graph.node[-1].output[0] = "small"
    factor = onnx.numpy_helper.from_array(np.array([1e30], np.float32), "factor")
    model.graph.initializer.append(factor)
    model.graph.node.append(helper.make_node("Mul", ["small", "factor"], ["logits"]))
    predictor = load_predictor(make_artifact(tmp_path / "artifact", model=model), provider="cpu")
    probabilities = predictor.probabilities(random_pixels(5))
    assert set(probabilities.ravel().tolist()) == {0.0, 1.0}
    np.testing.assert_array_equal(probabilities.argmax(axis=1), logits_by_hand(random_pixels(5)).argmax(axis=1))


@pytest.mark.parametrize(
    "pixels",
    [
        random_pixels(1).astype(np.float32),
        random_pixels(1)[0],
        random_pixels(1).transpose(0, 3, 1, 2),
        random_pixels(1)[:0],
    ],
)
def test_pixels_of_another_shape_are_refused(predictor: Predictor, pixels: np.ndarray) -> None:
    with pytest.raises(ValueError, match="pixels must be uint8"):
        predictor.run(pixels)


def test_a_missing_artifact_and_a_strange_file_are_told(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"nowhere does not exist\.\n.*noah export"):
        load_predictor(tmp_path / "nowhere")
    (tmp_path / "other.onnx").write_bytes(b"")
    with pytest.raises(ArtifactError, match=r"other\.onnx is not an artifact\.\nName the folder"):
        load_predictor(tmp_path / "other.onnx")
    with pytest.raises(ArtifactError, match=r"manifest\.json does not exist"):
        load_predictor(tmp_path)


def test_a_damaged_model_is_not_opened(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "artifact")
    (folder / "model.onnx").write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="was changed or damaged"):
        load_predictor(folder)


def test_a_manifest_without_the_model_is_told(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "artifact")
    manifest = read_manifest(folder)
    files = {"weights.bin": manifest.files["model.onnx"]}
    write_manifest(manifest.model_copy(update={"files": files}), folder)
    with pytest.raises(ArtifactError, match=r"names no model\.onnx"):
        load_predictor(folder)


def test_wrong_preprocessing_is_told(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "artifact", preprocessing={"height": 6})
    with pytest.raises(ArtifactError, match="preprocessing stored in the artifact is wrong"):
        load_predictor(folder)


def test_a_provider_that_does_not_exist_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no provider"):
        load_predictor(make_artifact(tmp_path / "artifact"), provider="abacus")


def model_input(kind: Kind, shape: tuple[int | str, ...], name: str = "images") -> ModelInput:
    return (
        ModelInput(name=name, shape=shape, type="uint8", layout="NHWC", values="raw")
        if kind == "uint8"
        else ModelInput(name=name, shape=shape, type="float32", layout="NCHW", values="normalized")
    )


OTHER_SIZE = Preprocessing(**{**PREPROCESSING.to_json(), "height": 7, "mean": (0, 0, 0), "std": (1, 1, 1)})


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        (
            {"input": model_input("float32", ("n", 3, HEIGHT, WIDTH), "pixels")},
            "its input is 'images', not 'pixels'",
        ),
        ({"input": model_input("uint8", ("n", HEIGHT, WIDTH, 3))}, "input 'images' is float32, not uint8"),
        ({"input": model_input("float32", ("n", 3, WIDTH, HEIGHT))}, r"\['batch', 3, 6, 8\], not \['n', 3, 8, 6\]"),
        ({"input": model_input("float32", (4, 3, HEIGHT, WIDTH))}, "the input's batch is fixed to 4"),
        (
            {"output": ModelOutput(name="logits", shape=("n", len(CLASSES)), type="float16", values="logits")},
            "output 'logits' is float32, not float16",
        ),
        (
            {
                "classes": ("a", "b"),
                "output": ModelOutput(name="logits", shape=("n", 2), type="float32", values="logits"),
            },
            r"\['batch', 4\], not \['n', 2\]",
        ),
        ({"preprocessing": OTHER_SIZE.to_json()}, r"images of \(6, 8\), but preprocessing makes \(7, 8\)"),
    ],
)
def test_a_model_that_is_not_its_manifests_is_refused(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    folder = make_artifact(tmp_path / "artifact", **changes)
    with pytest.raises(ArtifactError, match=problem) as caught:
        load_predictor(folder)
    assert len(str(caught.value).splitlines()) == 2


def test_a_model_with_a_fixed_batch_is_refused(tmp_path: Path) -> None:
    folder = make_artifact(
        tmp_path / "artifact", model=make_model(batch=4), input=model_input("float32", (4, 3, HEIGHT, WIDTH))
    )
    with pytest.raises(ArtifactError, match="batch is fixed to 4, but any number of images must fit"):
        load_predictor(folder)


def test_the_name_of_a_free_size_makes_no_difference(tmp_path: Path) -> None:
    folder = make_artifact(tmp_path / "artifact", input=model_input("float32", ("anything", 3, HEIGHT, WIDTH)))
    assert load_predictor(folder, provider="cpu").run(random_pixels(2)).shape == (2, len(CLASSES))


def test_a_model_that_fails_while_it_runs_is_told(tmp_path: Path) -> None:
    """A graph that takes its images two by two: nothing in its input or output says so."""
    model = make_model()
    size = 3 * HEIGHT * WIDTH
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, 2 * size]), "pairs"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, size]), "single"))
    flatten, gemm = model.graph.node
    del model.graph.node[:]
    pair = helper.make_node("Reshape", ["images", "pairs"], ["paired"])
    model.graph.node.extend([pair, helper.make_node("Reshape", ["paired", "single"], flatten.output), gemm])
    predictor = load_predictor(make_artifact(tmp_path / "artifact", model=model), provider="cpu")
    assert len(predictor.run(random_pixels(4))) == 4
    with pytest.raises(ArtifactError, match=r"failed on a batch of 3 images: .*\n.*--batch-size"):
        predictor.run(random_pixels(3))
