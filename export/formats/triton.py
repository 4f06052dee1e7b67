"""`--format triton`: a model repository for Triton Inference Server around the ONNX file or an engine."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from export.formats.format import MERGED, Format
from export.formats.onnx import ONNX_OPTIONS

if TYPE_CHECKING:  # they import torch, onnxruntime or pydantic
    from export.artifact.manifest import Manifest
    from export.artifact.records import Precision
    from export.runtime.tensorrt_package import Builder
    from export.write.onnx_artifact import Draft
    from export.write.request import Request
    from noah.prepare.context import Materials
    from noah.progress import Listener
    from noah.runs.folder import Run


def _next_step(folder: Path) -> str:
    return f"tritonserver --model-repository {shlex.quote((folder / 'models').as_posix())}"


def _usage(manifest: Manifest, folder: Path) -> str:
    return f"With Triton Inference Server:\n\n    {_next_step(Path(folder.name))}\n"


def _prepare(precision: Precision, target: str | None) -> Builder | None:
    from export.runtime.tensorrt_package import choose_served

    return choose_served(precision)


def _write(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    from export.runtime.tensorrt_package import why_not_served
    from export.write.onnx_artifact import export_artifact

    served = "the engine" if request.builder else f"the ONNX file ({why_not_served(request.precision)})"
    listener.say(f"serves    {served}")
    return export_artifact(run, materials, listener, request, finish=_finish, form=MERGED, usage=_usage)


def _finish(draft: Draft) -> Manifest:
    from export.convert.to_triton import arrange_repository
    from export.write.engine import add_engine
    from export.write.proof import prove_onnx

    parity = prove_onnx(draft.file, draft.evidence, draft.listener)
    engine = None
    if draft.request.builder is not None:
        engine, proved = add_engine(draft)
        parity += proved
    dataset = draft.materials.dataset
    arrange_repository(draft.folder, dataset.name, dataset.classes, draft.input, draft.output, draft.request.profile)
    return draft.describe(parity, engine=engine)


TRITON = Format(
    name="triton",
    help="a model repository for Triton Inference Server",
    runtime="Triton Inference Server",
    form=MERGED,
    usage=_usage,
    write=_write,
    precisions=("fp32", "fp16", "bf16", "int8", "int8-dynamic"),
    options=ONNX_OPTIONS,
    why_no_images="the server puts requests into one batch, and images of several sizes do not fit into one",
    next_step=_next_step,
    prepare=_prepare,
)
