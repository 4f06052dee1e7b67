"""`--format trt`: the ONNX file, and a TensorRT engine that is built from it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from export.formats import onnx
from export.formats.format import MERGED, Finding, Format, ModelFile, Opening
from export.runtime.profile import ENGINE_PROFILE

if TYPE_CHECKING:  # they import torch, onnxruntime or pydantic
    from export.artifact.manifest import Manifest
    from export.artifact.records import Precision
    from export.runtime.tensorrt_package import Builder
    from export.runtime.tensors import OpenModel
    from export.write.onnx_artifact import Draft
    from export.write.request import Request
    from noah.prepare.context import Materials
    from noah.progress import Listener
    from noah.runs.folder import Run


def _usage(manifest: Manifest, folder: Path) -> str:
    command = onnx.usage(manifest, folder)
    model = shlex.quote(f"{folder.name}/{onnx.ONNX_FILE.name}")
    return (
        f"{command}\nThe engine needs an NVIDIA GPU of one of the targets. To run the same model in onnxruntime:\n\n"
        f"    noah predict {model} IMAGES... --out predictions.csv\n"
    )


def _prepare(precision: Precision, target: str | None) -> Builder:
    from export.runtime.tensorrt_package import choose_builder, parse_targets

    return choose_builder(precision, None if target is None else parse_targets(target))


def _write(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    from export.write.onnx_artifact import export_artifact

    return export_artifact(run, materials, listener, request, finish=_finish, form=MERGED, usage=_usage)


def _finish(draft: Draft) -> Manifest:
    from export.write.engine import add_engine
    from export.write.proof import prove_onnx

    parity = prove_onnx(draft.file, draft.evidence, draft.listener)
    engine, proved = add_engine(draft)
    return draft.with_program(draft.describe(parity + proved, engine=engine))


def _open(file: Path, manifest: Manifest, opening: Opening) -> OpenModel:
    from export.runtime.engine import open_engine
    from noah.errors import ArtifactError, UsageError
    from noah.runs.export_command import export_again

    beside = file.with_name(onnx.ONNX_FILE.name)
    if manifest.engine is None:
        problem = f"The manifest beside {file} does not describe the engine."
        raise ArtifactError(problem, export_again(file.parent))
    if opening.embeddings:
        raise UsageError(f"The engine {file} gives no embeddings.", f"The file that it was built from does: {beside}")
    if opening.provider is not None:
        raise UsageError(
            f"--provider {opening.provider} is for ONNX files, and {file} is an engine.",
            f"Leave it out, or name {beside}.",
        )
    return open_engine(file, manifest.engine)


def _why_not_run(precision: Precision) -> str:
    from noah.hardware.gpu import why_no_gpu

    return why_no_gpu()


def _why_not_here(manifest: Manifest) -> str:
    from export.runtime.engine import why_not_run

    return "its manifest does not describe it" if manifest.engine is None else why_not_run(manifest.engine)


def _examine() -> Iterator[Finding]:
    """Build a small engine, and look for a GPU to run it on."""
    import tempfile

    from export.convert.small_model import write_small_model
    from export.convert.to_tensorrt import build_engine
    from export.runtime.profile import Profile
    from export.runtime.tensorrt_package import choose_builder
    from noah.errors import NoahError
    from noah.hardware.gpu import gpu_name_and_target, why_no_gpu

    try:
        builder = choose_builder("fp16", None)
        with tempfile.TemporaryDirectory() as folder:
            model = write_small_model(Path(folder), "fp16")
            record = build_engine(
                model, Path(folder, "e"), builder, Profile(1, 1, 2), "fp16", Path(folder, "timing.cache")
            )
        yield Finding(
            "good",
            f"{builder.package} {builder.version} builds engines for {', '.join(record.targets)} ({builder.reason})",
        )
    except NoahError as error:
        yield Finding("note", f"Engines cannot be built here: {error.problem} {error.hint}")
    if missing := why_no_gpu():
        yield Finding("note", f"Engines do not run here: {missing}. The model.onnx beside an engine does.")
    else:
        yield Finding("good", "engines run on {} ({})".format(*gpu_name_and_target()))


ENGINE = ModelFile(
    name="model.engine",
    open=_open,
    why_not_here=_why_not_here,
    takes_provider=False,
    runs_on=frozenset(("gpu",)),
)

TRT = Format(
    name="trt",
    help="also a TensorRT engine, built without a GPU",
    runtime="TensorRT",
    form=MERGED,
    usage=_usage,
    write=_write,
    precisions=("fp32", "fp16", "bf16", "int8"),
    default="fp16",
    why_default="all targets support it; half the size of fp32, and closer to it than bf16",
    options=onnx.ONNX_OPTIONS | {"--target"},
    why_no_images="TensorRT has no antialiased resizing",
    profile=ENGINE_PROFILE,
    prepare=_prepare,
    models=(ENGINE, onnx.ONNX_FILE),
    why_not_run=_why_not_run,
    examine=_examine,
)
