"""Arranges a model repository for Triton Inference Server: folders and a config.pbtxt around an ONNX file or engine."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from export.artifact.manifest import ENGINE_FILE, MODEL_FILE
from export.artifact.records import ModelInput, ModelOutput
from export.runtime.profile import Profile

REPOSITORY = "models"
"""The folder that `tritonserver --model-repository` takes."""
_PLAN = "model.plan"
_LABELS = "labels.txt"
_QUEUE_MICROSECONDS = 1000
"""How long a request waits for others to share a batch with: a few percent of a batch's time on a CPU."""
_TYPES = {"float32": "TYPE_FP32", "float16": "TYPE_FP16", "uint8": "TYPE_UINT8"}


def arrange_repository(
    folder: Path,
    dataset: str,
    classes: Sequence[str],
    model_input: ModelInput,
    model_output: ModelOutput,
    profile: Profile,
) -> None:
    """Move the model of an artifact into a repository in its folder, and write the files that Triton needs beside it.

    An engine that `tensorrt` built becomes `model.plan`, and its ONNX file stays where it is; without an engine, the
    ONNX file is served.

    Args:
        folder: The artifact's folder, which holds `model.onnx`, and `model.engine` if there is one.
        dataset: The name that the model's is made from.
        classes: Labels in the order of the outputs.
        model_input: Name, shape and type of the input.
        model_output: Name, shape and type of the output.
        profile: Its largest batch becomes the server's limit, its usual batch the preferred size.
    """
    name = model_name(dataset)
    version = folder / REPOSITORY / name / "1"
    version.mkdir(parents=True)
    engine = folder / ENGINE_FILE
    if engine.exists():
        engine.rename(version / _PLAN)
    else:
        for file in folder.glob(f"{MODEL_FILE}*"):  # weights beyond 2 GiB lie beside it
            file.rename(version / file.name)
    platform = "tensorrt_plan" if (version / _PLAN).exists() else "onnxruntime_onnx"
    text = config_text(name, platform, model_input, model_output, profile)
    (version.parent / "config.pbtxt").write_text(text, encoding="utf-8", newline="\n")
    lines = (" ".join(label.splitlines()) for label in classes)
    (version.parent / _LABELS).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8", newline="\n")


def model_name(dataset: str) -> str:
    """The model's name in requests, made of letters, digits and underscores only."""
    return re.sub(r"\W+", "_", dataset, flags=re.ASCII).strip("_") or "model"


def config_text(name: str, platform: str, model_input: ModelInput, model_output: ModelOutput, profile: Profile) -> str:
    """Give the text of config.pbtxt; its shapes leave out the batch axis, which Triton adds."""
    preferred = f"    preferred_batch_size: [ {profile.optimum} ]\n"
    return (
        f"name: {json.dumps(name)}\n"
        f"platform: {json.dumps(platform)}\n"
        f"max_batch_size: {profile.maximum}\n"
        "input [\n"
        f"  {{ name: {json.dumps(model_input.name)} data_type: {_TYPES[model_input.type]} "
        f"dims: [ {_dims(model_input.shape)} ] }}\n"
        "]\n"
        "output [\n"
        f"  {{ name: {json.dumps(model_output.name)} data_type: {_TYPES[model_output.type]} "
        f'dims: [ {_dims(model_output.shape)} ] label_filename: "{_LABELS}" }}\n'
        "]\n"
        "dynamic_batching {\n"
        f"{preferred if profile.optimum > 1 else ''}"
        f"    max_queue_delay_microseconds: {_QUEUE_MICROSECONDS}\n"
        "}\n"
    )


def _dims(shape: Sequence[int | str]) -> str:
    return ", ".join(map(str, shape[1:]))
