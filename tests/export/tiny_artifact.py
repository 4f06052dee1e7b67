"""A real artifact small enough for a test: flatten and one matrix, as float32 NCHW or as uint8 NHWC."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.artifact.manifest import MODEL_FILE, Manifest, file_record, write_manifest
from export.artifact.records import (
    BackboneRecord,
    ModelInput,
    ModelOutput,
    Parity,
    ParityBatch,
    RunRecord,
    SubnetWidths,
    Tolerance,
)
from export.convert.image_input import put_resizing_in_front
from noah.data.pixels.preprocessing import Preprocessing

HEIGHT, WIDTH = 6, 8
CLASSES = ("café", "a, b", "dog", "鳥")
PREPROCESSING = Preprocessing(
    height=HEIGHT,
    width=WIDTH,
    resize="crop",
    crop_fraction=0.9,
    interpolation="bicubic",
    mean=(0.5, 0.4, 0.3),
    std=(0.2, 0.25, 0.3),
)

_rng = np.random.default_rng(7)
WEIGHT = _rng.normal(size=(3 * HEIGHT * WIDTH, len(CLASSES))).astype(np.float32) / 6
BIAS = _rng.normal(size=len(CLASSES)).astype(np.float32)

Kind = Literal["float32", "uint8", "image"]


def logits_by_hand(pixels: np.ndarray) -> np.ndarray:
    """What the model has to give for uint8 (B, H, W, 3): float64 (B, classes)."""
    normalized = (pixels / 255 - np.array(PREPROCESSING.mean)) / np.array(PREPROCESSING.std)
    return np.asarray(normalized.transpose(0, 3, 1, 2).reshape(len(pixels), -1) @ WEIGHT.astype(float) + BIAS)


def probabilities_by_hand(pixels: np.ndarray) -> np.ndarray:
    exponentials = np.exp(logits_by_hand(pixels))
    return np.asarray(exponentials / exponentials.sum(axis=1, keepdims=True))


def make_model(kind: Kind = "float32", *, batch: int | str = "batch", probabilities: bool = False) -> onnx.ModelProto:
    """Build the graph; the uint8 one normalizes inside, and the one for images resizes, too."""
    constants: dict[str, np.ndarray] = {"weight": WEIGHT, "bias": BIAS}
    nodes = []
    if kind != "float32":
        constants |= {
            "scale": (1 / (255 * np.array(PREPROCESSING.std))).astype(np.float32),
            "shift": (np.array(PREPROCESSING.mean) / np.array(PREPROCESSING.std)).astype(np.float32),
        }
        nodes += [
            helper.make_node("Cast", ["images"], ["float"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["float", "scale"], ["scaled"]),
            helper.make_node("Sub", ["scaled", "shift"], ["normalized"]),
            helper.make_node("Transpose", ["normalized"], ["planes"], perm=[0, 3, 1, 2]),
        ]
    nodes += [
        helper.make_node("Flatten", ["images" if kind == "float32" else "planes"], ["flat"]),
        helper.make_node("Gemm", ["flat", "weight", "bias"], ["scores" if probabilities else "logits"]),
    ]
    if probabilities:
        nodes.append(helper.make_node("Softmax", ["scores"], ["logits"], axis=1))
    graph = helper.make_graph(
        nodes,
        "tiny",
        [
            helper.make_tensor_value_info("images", TensorProto.UINT8, [batch, HEIGHT, WIDTH, 3])
            if kind != "float32"
            else helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, 3, HEIGHT, WIDTH])
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, len(CLASSES)])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    if kind == "image":
        put_resizing_in_front(model, PREPROCESSING)
    onnx.checker.check_model(model, full_check=True)
    return model


def make_manifest(model_file: Path, kind: Kind = "float32", **changes: Any) -> Manifest:
    """Describe a model that `make_model` made; `changes` replace whole fields."""
    model_input = {
        "float32": ModelInput(
            name="images", shape=("batch", 3, HEIGHT, WIDTH), type="float32", layout="NCHW", values="normalized"
        ),
        "uint8": ModelInput(
            name="images", shape=("batch", HEIGHT, WIDTH, 3), type="uint8", layout="NHWC", values="raw"
        ),
        "image": ModelInput(
            name="images", shape=("batch", "height", "width", 3), type="uint8", layout="NHWC", values="image"
        ),
    }[kind]
    fields: dict[str, Any] = {
        "run": RunRecord(name="shapes/first", data="0" * 64, weights="1" * 64),
        "dataset": "tiny",
        "classes": CLASSES,
        "preprocessing": PREPROCESSING.to_json(),
        "subnet": SubnetWidths(prompt=(4, 0), lora=(8, 2), adapter=(0, 16)),
        "parameters": 1234,
        "backbone": BackboneRecord(name="tiny", arch="vit_tiny", image_size=(HEIGHT, WIDTH)),
        "input": model_input,
        "output": ModelOutput(name="logits", shape=("batch", len(CLASSES)), type="float32", values="logits"),
        "precision": "fp32",
        "opset": 20,
        "types": {"Gemm": {"float32": 1}},
        "parity": (
            Parity(
                method="run",
                runs_on="onnxruntime CPUExecutionProvider",
                reference="torch float64",
                images="test split",
                values="logits",
                tolerance=Tolerance(max_difference=1e-5, mean_difference=1e-6, other_first_class=0.0),
                batches=(
                    ParityBatch(
                        batch=8, max_difference=3e-7, mean_difference=1e-7, max_absolute=2e-6, top1_agreement=1.0
                    ),
                ),
            ),
        ),
        "files": {model_file.name: file_record(model_file)},
        "versions": {"onnx": onnx.__version__},
    }
    return Manifest(**(fields | changes))


def make_artifact(
    folder: Path, kind: Kind = "float32", *, model: onnx.ModelProto | None = None, **changes: Any
) -> Path:
    """Write model and manifest into a new folder and give the folder."""
    folder.mkdir(parents=True)
    onnx.save(model or make_model(kind), folder / MODEL_FILE)
    write_manifest(make_manifest(folder / MODEL_FILE, kind, **changes), folder)
    return folder
