"""torch's ONNX exporter, which takes seconds, asked once for each network: whoever exports the same again gets a copy.

Two exports are the same where everything that goes in is: the module with its code's name, its weights and its
attributes, the example and the options. What noah does with the exporter's file is done each time.
"""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.once import made_once

MODEL = "model.onnx"


@dataclass(frozen=True)
class KeptProgram:
    """Stands for what the exporter gives.

    Attributes:
        folder: Where the file is kept, or will be.
        export: Asks the exporter itself.
    """

    folder: Path
    export: Callable[[], Any]

    def save(self, path: Path, *, external_data: bool) -> None:
        """Write the file; one with its weights beside it is not kept."""
        if external_data:
            self.export().save(path, external_data=True)
        else:
            made_once(self.folder, lambda folder: self.export().save(folder / MODEL, external_data=False))
            shutil.copyfile(self.folder / MODEL, path)


class _Pickler(pickle.Pickler):
    """Writes tensors by their content, not by where they lie."""

    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            content = value.detach().cpu().contiguous().numpy().tobytes()
            return bytes, (f"{value.dtype} {tuple(value.shape)} {value.device}".encode() + content,)
        if isinstance(value, set):
            return tuple, (sorted(value),)
        return NotImplemented


def fingerprint(*parts: Any) -> str:
    """Tells what goes into an export from anything else that may."""
    written = io.BytesIO()
    _Pickler(written).dump(parts)
    return hashlib.sha256(written.getvalue()).hexdigest()


def exporter_that_keeps(export: Callable[..., Any], folder: Path) -> Callable[..., Any]:
    """The exporter, with what it wrote kept in a folder.

    Errors come from `save` instead of from the call; `write_onnx` treats both alike.
    """

    def export_once(model: torch.nn.Module, example: tuple[torch.Tensor], **options: Any) -> Any:
        try:
            name = fingerprint(model, example, {**options, "dynamic_shapes": repr(options["dynamic_shapes"])})
        except (pickle.PicklingError, AttributeError, TypeError):  # code without a name, such as a lambda
            return export(model, example, **options)
        return KeptProgram(folder / name, partial(export, model, example, **options))

    return export_once
