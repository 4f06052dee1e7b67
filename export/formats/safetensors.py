"""`--format safetensors`: the trained modules and the head alone, which `noah.load` puts into the backbone again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from export.formats.format import Format, in_python

if TYPE_CHECKING:  # they import torch or pydantic
    from torch import nn

    from export.artifact.manifest import Manifest
    from export.write.request import Request
    from noah.model.supernet import Supernet
    from noah.prepare.context import Materials
    from noah.progress import Listener
    from noah.runs.folder import Run
    from noah.space.subnet import Subnet

FOR_TORCH = "for torch, this is chosen when the network is used"
"""Why formats for torch take few options."""


def _next_step(folder: Path) -> str:
    return f"noah.load({in_python(folder)})"


def _usage(manifest: Manifest, folder: Path) -> str:
    return f"In Python, with torch:\n\n    {_next_step(Path(folder.name))}\n"


def _write(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    from export.write.torch_artifact import TorchFiles, export_for_torch
    from noah.model.saved_modules import MODULES_FILE

    files = TorchFiles("safetensors", MODULES_FILE, "noah.load", _write_files)
    return export_for_torch(run, materials, listener, files, form=_FORM, usage=_usage)


def _write_files(folder: Path, materials: Materials, model: Supernet, subnet: Subnet, listener: Listener) -> nn.Module:
    from noah.model.saved_modules import MODULES_FILE, load, save_modules

    backbone = materials.backbone
    listener.say(f"writing   {MODULES_FILE}: modules and head, without the backbone")
    save_modules(
        folder / MODULES_FILE,
        model,
        subnet,
        classes=materials.dataset.classes,
        preprocessing=backbone.preprocessing,
        decoding=materials.intake.decoding,
        backbone=materials.settings.backbone,
        architecture=backbone.architecture,
    )
    listener.say(f"loading   it again, with the backbone {backbone.name} loaded afresh")
    return load(folder)


_FORM = "stored here with the head but without the backbone"

SAFETENSORS = Format(
    name="safetensors",
    help="just modules and head, for noah.load in Python",
    runtime="torch",
    form=_FORM,
    usage=_usage,
    write=_write,
    why_fewer_options=FOR_TORCH,
    next_step=_next_step,
)
