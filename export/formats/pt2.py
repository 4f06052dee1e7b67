"""`--format pt2`: the merged network as a program of torch.export, for PyTorch's own runtimes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from export.formats.format import MERGED, Format, in_python
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
    return f"torch.export.load({in_python(folder / 'model.pt2')}).module()"


def _usage(manifest: Manifest, folder: Path) -> str:
    return (
        "In Python, with torch alone; labels and preprocessing are in the file itself:\n\n"
        '    extra = {"classes": "", "preprocessing": ""}\n'
        f'    program = torch.export.load("{folder.name}/model.pt2", extra_files=extra)\n'
        '    labels = json.loads(extra["classes"])\n'
        "    logits = program.module()(images)\n\n"
        "Any batch size runs. Compiled, in a package that C++ loads:\n\n"
        '    torch._inductor.aoti_compile_and_package(program, package_path="compiled.pt2")\n'
    )


def _write(run: Run, materials: Materials, listener: Listener, request: Request) -> Path:
    from export.convert.to_program import PROGRAM_FILE, program_types
    from export.write.torch_artifact import TorchFiles, export_for_torch

    files = TorchFiles("pt2", PROGRAM_FILE, "torch.export.load", _write_files, count_types=program_types)
    return export_for_torch(run, materials, listener, files, form=MERGED, usage=_usage)


def _write_files(folder: Path, materials: Materials, model: Supernet, subnet: Subnet, listener: Listener) -> nn.Module:
    from export.convert.to_program import PROGRAM_FILE, export_program, load_program, save_program
    from noah.model.merge import merge

    listener.say("merging   the modules into the backbone")
    preprocessing = materials.backbone.preprocessing
    program = export_program(merge(model, subnet), height=preprocessing.height, width=preprocessing.width)
    listener.say(f"writing   {PROGRAM_FILE}, batch axis free")
    notes = {"classes": list(materials.dataset.classes), "preprocessing": preprocessing.to_json()}
    save_program(program, folder / PROGRAM_FILE, notes)
    listener.say("loading   it again: torch.export.load")
    return load_program(folder / PROGRAM_FILE)


PT2 = Format(
    name="pt2",
    help="a program of torch.export, for PyTorch's own runtimes",
    runtime="torch",
    form=MERGED,
    usage=_usage,
    write=_write,
    why_fewer_options=FOR_TORCH,
    next_step=_next_step,
)
