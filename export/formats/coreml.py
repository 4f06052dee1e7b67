"""`--format coreml`: the merged network as a Core ML package, which macOS and iOS run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from export.formats.format import MERGED, Format, in_python

if TYPE_CHECKING:  # they import torch or pydantic
    from torch import nn

    from export.artifact.manifest import Manifest
    from export.artifact.records import Precision
    from export.write.request import Request
    from noah.model.supernet import Supernet
    from noah.prepare.context import Materials
    from noah.progress import Listener
    from noah.runs.folder import Run
    from noah.space.subnet import Subnet

_BATCH = 1
"""Core ML's fastest device, the neural engine, takes no batch that is free."""


def _next_step(folder: Path) -> str:
    return f"coremltools.models.MLModel({in_python(folder / 'model.mlpackage')}) on a Mac"


def _usage(manifest: Manifest, folder: Path) -> str:
    return (
        "It runs on Macs and iPhones alone, macOS 13 or iOS 16 and newer, one image at a time. It was not run when it "
        "was written: what was compared is the program that coremltools converted. On a Mac, check it first:\n\n"
        f'    model = coremltools.models.MLModel("{folder.name}/model.mlpackage")\n'
        '    labels = json.loads(model.user_defined_metadata["noah.classes"])\n'
        f'    logits = model.predict({{"{manifest.input.name}": image}})["logits"]\n\n'
        "In Xcode, drag the package into the project.\n"
    )


def _prepare(precision: Precision, target: str | None) -> None:
    from export.convert.to_coreml import load_coremltools

    load_coremltools()


def _write(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    from export.convert.to_coreml import PACKAGE, check_coreml
    from export.write.torch_artifact import TorchFiles, export_for_torch

    preprocessing = materials.backbone.preprocessing
    shape = (_BATCH, 3, preprocessing.height, preprocessing.width)
    files = TorchFiles(
        "coreml",
        PACKAGE,
        "torch.export; coremltools converted this program, and only a Mac can run what it wrote",
        _write_files,
        count_types=lambda package: check_coreml(package, shape, materials.dataset.classes),
        takes_one=True,
        is_run=False,
    )
    return export_for_torch(run, materials, listener, files, form=MERGED, usage=_usage)


def _write_files(folder: Path, materials: Materials, model: Supernet, subnet: Subnet, listener: Listener) -> nn.Module:
    from export.convert.to_coreml import PACKAGE, load_coremltools, write_coreml
    from export.convert.to_program import export_program
    from noah.model.merge import merge

    listener.say("merging   the modules into the backbone")
    preprocessing = materials.backbone.preprocessing
    program = export_program(merge(model, subnet), height=preprocessing.height, width=preprocessing.width, batch=_BATCH)
    listener.say(f"writing   {PACKAGE}, by coremltools {load_coremltools().__version__}, for one image at a time")
    notes = {"noah.classes": list(materials.dataset.classes), "noah.preprocessing": preprocessing.to_json()}
    write_coreml(program, folder / PACKAGE, notes)
    listener.say("          It is read again and checked, but only a Mac can run it.")
    return program.module()


COREML = Format(
    name="coreml",
    help="a Core ML package for one image at a time, written and checked here but run only on a Mac",
    runtime="Core ML",
    form=MERGED,
    usage=_usage,
    write=_write,
    extra="coreml",
    why_fewer_options="it is in float32 and takes normalized images, one at a time",
    next_step=_next_step,
    prepare=_prepare,
)
