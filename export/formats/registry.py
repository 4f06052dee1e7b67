"""The formats that `noah export` writes, by name.

To add one: a file beside this one with a `Format`, and a line here. The command line, its help, the check of its
options, manifests, model cards, `noah doctor` and everything that opens artifacts read this registry.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from export.formats.coreml import COREML
from export.formats.format import Format, ModelFile
from export.formats.onnx import ONNX
from export.formats.openvino import OPENVINO
from export.formats.pt2 import PT2
from export.formats.safetensors import SAFETENSORS
from export.formats.timm import TIMM
from export.formats.triton import TRITON
from export.formats.trt import TRT
from noah.errors import ArtifactError, UsageError

if TYPE_CHECKING:  # it imports pydantic, which help does not need
    from export.artifact.manifest import Manifest

FORMATS: dict[str, Format] = {
    format_.name: format_ for format_ in (ONNX, OPENVINO, TRT, TRITON, SAFETENSORS, TIMM, PT2, COREML)
}
"""In the order of the help."""


def find_format(name: str) -> Format:
    """The format that --format names.

    Raises:
        UsageError: If there is none of that name.
    """
    if name not in FORMATS:
        raise UsageError(f"There is no format {name!r}.", f"Formats: {', '.join(FORMATS)}, and auto.")
    return FORMATS[name]


def format_of(manifest: Manifest) -> Format:
    """The format of an artifact.

    Raises:
        ArtifactError: If this noah does not know it.
    """
    if manifest.format not in FORMATS:
        raise ArtifactError(
            f"The artifact is of format {manifest.format!r}, which this noah does not know: it was written by "
            f"{manifest.created_by}. Known here: {', '.join(FORMATS)}.",
            "Update noah: pip install --upgrade noah-prompt-search",
        )
    return FORMATS[manifest.format]


def model_files() -> dict[str, ModelFile]:
    """Every file that noah runs in an artifact of any format, by its name."""
    return {model.name: model for format_ in FORMATS.values() for model in format_.models}
