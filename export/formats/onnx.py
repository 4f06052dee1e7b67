"""`--format onnx`: the merged network as an ONNX file for onnxruntime, and a program that runs it without noah."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from export.formats.format import GRAPH_OPTIONS, MERGED, Finding, Format, ModelFile, Opening

if TYPE_CHECKING:  # they import torch, onnxruntime or pydantic
    from export.artifact.manifest import Manifest
    from export.artifact.records import Precision
    from export.runtime.tensors import OpenModel
    from export.write.onnx_artifact import Draft
    from export.write.request import Request
    from noah.prepare.context import Materials
    from noah.progress import Listener
    from noah.runs.folder import Run

ONNX_OPTIONS = GRAPH_OPTIONS | {"--opset"}


def usage(manifest: Manifest, folder: Path) -> str:
    """How to run the file by noah's commands, and without noah if there is a program beside it."""
    from export.artifact.manifest import MODEL_FILE, PROGRAM_FILE, REQUIREMENTS_FILE

    command = f"    noah predict {shlex.quote(folder.name)} IMAGES... --out predictions.csv\n"
    if PROGRAM_FILE in manifest.files:
        command += (
            f"\nWithout noah, `{MODEL_FILE}` is run by `{PROGRAM_FILE}`, which gives the same rows:\n\n"
            f"    pip install -r {REQUIREMENTS_FILE}\n    python {PROGRAM_FILE} IMAGES... --out predictions.csv\n"
        )
    return command


def _write(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    from export.write.onnx_artifact import export_artifact

    return export_artifact(run, materials, listener, request, finish=_finish, form=MERGED, usage=usage)


def _finish(draft: Draft) -> Manifest:
    from export.write.image_input import resize_in_graph
    from export.write.proof import BEFORE_RESIZING, prove_onnx

    parity = prove_onnx(draft.file, draft.evidence, draft.listener)
    if draft.request.input == "image":
        before = (one.model_copy(update={"runs_on": f"{one.runs_on}, {BEFORE_RESIZING}"}) for one in parity)
        parity = (*before, resize_in_graph(draft))
    return draft.with_program(draft.describe(parity))


def open_onnx(file: Path, precision: Precision, opening: Opening) -> OpenModel:
    """Open an ONNX file in onnxruntime, or with `--provider openvino` in OpenVINO.

    Raises:
        ArtifactError: If it cannot be opened.
        NotHereError: If it is in bf16, which onnxruntime runs on no CPU.
        UsageError: If there is no such provider, or embeddings are asked of OpenVINO.
    """
    from export.runtime.onnx_session import CPU, open_session
    from export.runtime.openvino_model import is_openvino, open_openvino
    from noah.errors import ArtifactError, NotHereError, UsageError
    from noah.runs.export_command import export_beside

    if is_openvino(opening.provider):
        if opening.embeddings:
            raise UsageError("--provider openvino gives no embeddings.", "Leave it out, or name cpu.")
        return open_openvino(file, precision, provider=opening.provider, threads=opening.threads)
    try:
        return open_session(file, provider=opening.provider, threads=opening.threads, features=opening.embeddings)
    except ArtifactError as error:
        if precision == "bf16" and "find an implementation" in error.problem:
            here = export_beside(file.parent, "--format onnx --precision fp32")
            raise NotHereError(
                f"{file} is in bf16, and onnxruntime's {CPU} has no bf16 convolution.",
                f"Run it on a GPU or with --provider openvino, or export one that runs here: {here}",
            ) from error
        raise


def _open(file: Path, manifest: Manifest, opening: Opening) -> OpenModel:
    return open_onnx(file, manifest.precision, opening)


def _why_not_run(precision: Precision) -> str:
    from noah.hardware.gpu import why_no_gpu

    return why_no_gpu() if precision == "bf16" else ""  # onnxruntime's CPU has no bf16 convolution


def _why_not_here(manifest: Manifest) -> str:
    return _why_not_run(manifest.precision)


def _examine() -> Iterator[Finding]:
    """Run a small model in each precision."""
    import tempfile

    import numpy as np

    from export.convert.precision import PRECISIONS
    from export.convert.small_model import write_small_model
    from export.runtime.onnx_session import open_session
    from noah.errors import ArtifactError

    running: list[str] = []
    for precision in PRECISIONS:
        with tempfile.TemporaryDirectory() as folder:
            try:
                open_session(write_small_model(Path(folder), precision)).run(np.ones((2, 3, 4, 4), np.float32))
                running.append(precision)
            except ArtifactError as error:
                cause = error.problem.partition(": ")[2] or error.problem
                yield Finding("note", f"{precision} ONNX artifacts can be exported but do not run here: {cause}")
    yield Finding("good", f"ONNX artifacts run here in {', '.join(running)}")


ONNX_FILE = ModelFile(name="model.onnx", open=_open, why_not_here=_why_not_here, weights="model.onnx.data")

ONNX = Format(
    name="onnx",
    help="for onnxruntime",
    runtime="onnxruntime",
    form=MERGED,
    usage=usage,
    write=_write,
    precisions=("fp32", "fp16", "bf16", "int8", "int8-dynamic"),
    options=ONNX_OPTIONS,
    models=(ONNX_FILE,),
    why_not_run=_why_not_run,
    examine=_examine,
)
