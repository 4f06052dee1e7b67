"""Reads a file of weights as nothing but data, whatever training left it, and finds the backbone's weights in it."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from noah.backbone.unwrap import Unwrapped, unwrap
from noah.errors import CheckpointError
from noah.files.plain_weights import SETTINGS, load_plain

SUFFIXES = (".npz", ".safetensors", ".pth", ".pt", ".bin", ".ckpt", ".tar")
"""Endings of files of weights, in lower case, by which a name of a backbone is taken for a file."""


def read_weights(path: Path) -> Unwrapped:
    """Read a `.safetensors` file, or one that torch saved, with any name.

    Raises:
        CheckpointError: If it cannot be read as plain weights, or holds no state dictionary.
    """
    try:
        content: Any = load_file(path) if path.suffix.lower() == ".safetensors" else load_plain(path, SETTINGS)
    except Exception as error:
        # Readers of damaged or hostile files raise many kinds of error; each means the same to the user.
        cause = (
            "it holds other Python objects than tensors, which could run code"
            if isinstance(error, pickle.UnpicklingError)
            else first_line(error)
        )
        raise CheckpointError(
            f"{path} cannot be read as plain weights: {cause}",
            "Use a .safetensors file, or a .pth file that holds only a state dictionary.",
        ) from error
    try:
        return unwrap(content)
    except Exception as error:  # torch raises many kinds of error for tensors of unexpected shapes
        raise CheckpointError(
            f"{path} holds no state dictionary: {first_line(error).removesuffix('.')}.",
            "Save it with torch.save(model.state_dict(), path).",
        ) from error


def first_line(error: Exception) -> str:
    """The first line of a library's error message, or the error's type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
