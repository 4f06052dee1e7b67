"""`--format timm`: a plain timm model, for subnets that fold into the backbone's own layers."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from export.formats.format import Format, in_python
from export.formats.safetensors import FOR_TORCH

if TYPE_CHECKING:  # they import torch or pydantic
    from torch import nn

    from export.artifact.manifest import Manifest
    from export.write.request import Request
    from noah.model.supernet import Supernet
    from noah.prepare.context import Materials
    from noah.progress import Listener
    from noah.runs.folder import Run
    from noah.space.subnet import Subnet


def _next_step(folder: Path) -> str:
    return f"timm.create_model({in_python(folder, 'local-dir:')}, pretrained=True)"


def _usage(manifest: Manifest, folder: Path) -> str:
    return f"In Python, with torch:\n\n    {_next_step(Path(folder.name))}\n"


def _write(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    from export.convert.to_timm import STATE_FILE, check_is_plain
    from export.write.torch_artifact import TorchFiles, export_for_torch

    files = TorchFiles("timm", STATE_FILE, "timm", _write_files, check_is_plain)
    return export_for_torch(run, materials, listener, files, form=_FORM, usage=_usage)


def _write_files(folder: Path, materials: Materials, model: Supernet, subnet: Subnet, listener: Listener) -> nn.Module:
    from export.convert.to_timm import load_timm, write_timm

    backbone = materials.backbone
    listener.say("writing   a timm state dict, LoRA folded in, and its config.json")
    write_timm(
        folder,
        model,
        subnet,
        architecture=backbone.architecture,
        classes=materials.dataset.classes,
        preprocessing=backbone.preprocessing,
    )
    listener.say(f'loading   it again: timm.create_model("local-dir:{folder.name}", pretrained=True)')
    return load_timm(folder)


_FORM = "folded into the backbone's own layers"

TIMM = Format(
    name="timm",
    help="a plain timm model, for subnets that fold into the backbone, such as LoRA alone",
    runtime="timm",
    form=_FORM,
    usage=_usage,
    write=_write,
    why_fewer_options=FOR_TORCH,
    next_step=_next_step,
)
