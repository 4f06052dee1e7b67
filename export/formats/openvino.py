"""`--format openvino`: the merged network in OpenVINO's own files, the fastest on most CPUs."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from export.formats.format import GRAPH_OPTIONS, MERGED, Finding, Format, ModelFile, Opening

if TYPE_CHECKING:  # they import torch, numpy or pydantic
    from export.artifact.manifest import Manifest
    from export.artifact.records import Precision
    from export.runtime.tensors import OpenModel
    from export.write.onnx_artifact import Draft
    from export.write.request import Request
    from noah.prepare.context import Materials
    from noah.progress import Listener
    from noah.runs.folder import Run

IR_FILE, WEIGHTS_FILE = "model.xml", "model.bin"
_PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "int8")


def _usage(manifest: Manifest, folder: Path) -> str:
    hint = manifest.execution.hint if manifest.execution else "f32"
    return (
        f"    noah predict {shlex.quote(folder.name)} IMAGES... --out predictions.csv\n\n"
        "Without noah, with the package openvino; labels and preprocessing are in the network's own metadata:\n\n"
        f'    network = openvino.Core().read_model("{IR_FILE}")\n'
        '    labels = json.loads(str(network.get_rt_info(["noah", "classes"]).value))\n'
        f'    run = openvino.compile_model(network, "CPU", {{"INFERENCE_PRECISION_HINT": "{hint}"}})\n'
        f"    {manifest.output.name} = run(images)[0]\n"
    )


def _prepare(precision: Precision, target: str | None) -> None:
    from export.runtime.openvino_model import load_openvino

    load_openvino()


def _write(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    from export.write.onnx_artifact import export_artifact

    graph: Precision = "int8" if request.precision == "int8" else "fp32"
    return export_artifact(run, materials, listener, request, finish=_finish, form=MERGED, usage=_usage, graph=graph)


def _finish(draft: Draft) -> Manifest:
    from export.write.openvino import convert_draft

    return convert_draft(draft, draft.folder / IR_FILE)


def _open(file: Path, manifest: Manifest, opening: Opening) -> OpenModel:
    from export.runtime.openvino_model import open_openvino
    from noah.errors import UsageError
    from noah.runs.export_command import export_beside

    if opening.embeddings:
        hint = f"An ONNX artifact of the same run does: {export_beside(file.parent, '--format onnx')}"
        raise UsageError(f"{file} gives no embeddings.", hint)
    return open_openvino(file, manifest.precision, provider=opening.provider, threads=opening.threads)


def _why_not_here(manifest: Manifest) -> str:
    from export.runtime.openvino_model import load_openvino
    from noah.errors import MissingPackageError

    try:
        load_openvino()
    except MissingPackageError as error:
        return error.problem.rstrip(".")
    return ""


def _examine() -> Iterator[Finding]:
    """Run a small model in each precision, and tell what it computes in."""
    import tempfile

    import numpy as np

    from export.convert.small_model import write_small_model
    from export.runtime.openvino_model import choose_hint, open_openvino, openvino_core
    from noah.errors import MissingPackageError

    try:
        core = openvino_core()
    except MissingPackageError as error:
        yield Finding("note", f"OpenVINO artifacts are not written or run here: {error.problem} {error.hint}")
        return
    for precision in _PRECISIONS:
        with tempfile.TemporaryDirectory() as folder:
            graph = write_small_model(Path(folder), "int8" if precision == "int8" else "fp32")
            open_openvino(graph, precision, threads=1).run(np.ones((2, 3, 4, 4), np.float32))
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    told = "; ".join(f"{precision} {choose_hint(precision, capabilities)[1]}" for precision in _PRECISIONS)
    yield Finding("good", f"OpenVINO artifacts run here: {told}")


OPENVINO = Format(
    name="openvino",
    help="OpenVINO's own files, the fastest on most CPUs",
    runtime="openvino",
    form=MERGED,
    usage=_usage,
    write=_write,
    extra="openvino",
    precisions=_PRECISIONS,
    options=GRAPH_OPTIONS,
    prepare=_prepare,
    models=(
        ModelFile(
            name=IR_FILE,
            open=_open,
            why_not_here=_why_not_here,
            weights=WEIGHTS_FILE,
            runs_on=frozenset(("cpu",)),
        ),
    ),
    examine=_examine,
)
