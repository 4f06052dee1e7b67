"""Turns a network into a program of torch.export: a graph of PyTorch's own operators, without its Python code."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from export.runtime.tensors import BATCH_AXIS
from noah.errors import ExportError

PROGRAM_FILE = "model.pt2"


def export_program(network: nn.Module, *, height: int, width: int, batch: int | None = None) -> ExportedProgram:
    """Record what a network computes.

    Args:
        network: In evaluation mode; takes normalized float32 (B, 3, H, W). Its tensors may be copied, not changed.
        height: H, in pixels.
        width: W, in pixels.
        batch: B; None leaves it free.

    Raises:
        ExportError: If torch.export cannot.
    """
    _own_storage(network)
    # Two images: a batch of one would be taken for a fixed size.
    example = torch.zeros(batch or 2, 3, height, width, device=next(network.parameters()).device)
    shapes = ({0: torch.export.Dim(BATCH_AXIS)},) if batch is None else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # for the developers of torch.export
            return torch.export.export(network.eval(), (example,), dynamic_shapes=shapes)
    except Exception as error:  # it raises many kinds of errors
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"torch.export failed: {cause}") from error


def _own_storage(network: nn.Module) -> None:
    """Copy each tensor that is a part of a larger one: torch.export would save parts of one storage as a whole."""
    for tensor in (*network.parameters(), *network.buffers()):
        if tensor.untyped_storage().nbytes() != tensor.nbytes:
            tensor.data = tensor.data.clone()


def save_program(program: ExportedProgram, path: Path, notes: dict[str, Any]) -> None:
    """Write a program to a file.

    Args:
        program: The program.
        path: The file.
        notes: What `torch.export.load(path, extra_files=...)` finds beside it, each as JSON.
    """
    torch.export.save(program, path, extra_files={name: json.dumps(value) for name, value in notes.items()})


def load_program(path: Path) -> nn.Module:
    """Load a program from a file, as a module that takes what the network took.

    Raises:
        ExportError: If it cannot be loaded.
    """
    try:
        return torch.export.load(path).module()
    except Exception as error:  # it raises many kinds of errors
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"torch.export cannot load {path.name} again: {cause}") from error


def program_types(path: Path) -> dict[str, int]:
    """Count the weights of each type in a file."""
    state = torch.export.load(path).state_dict
    kinds = Counter(str(tensor.dtype).removeprefix("torch.") for tensor in state.values())
    return dict(sorted(kinds.items()))
