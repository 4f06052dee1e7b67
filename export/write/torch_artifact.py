"""Exports the retrained winner for torch: just its modules and head or, if they all fold, a plain timm model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from safetensors import safe_open
from torch import nn

from export.artifact.folder import new_artifact
from export.artifact.manifest import CARD_FILE, Manifest, file_records, write_manifest
from export.artifact.model_card import write_card
from export.artifact.origin import describe_origin
from export.artifact.records import ModelInput, ModelOutput, Parity
from export.runtime.profile import ONNX_PROFILE
from export.runtime.tensors import BATCH_AXIS, INPUT_NAME, TensorSpec
from export.write.parity import torch_outputs
from export.write.proof import gather_evidence
from noah.model.supernet import Supernet
from noah.prepare.context import Materials
from noah.progress import Listener
from noah.runs.folder import Run, installed_versions
from noah.space.subnet import Subnet
from noah.stages.retrain_stage import load_retrained

_OUTPUT = "logits"
_TYPES = {"F32": "float32"}


def _weight_types(file: Path) -> dict[str, int]:
    """Count the tensors of each type in a safetensors file."""
    with safe_open(file, framework="np") as opened:
        kinds = Counter(opened.get_slice(name).get_dtype() for name in opened.keys())  # noqa: SIM118  # not a mapping
    return {_TYPES.get(kind, kind): count for kind, count in sorted(kinds.items())}


def _takes_any(subnet: Subnet) -> None:
    """Refuse nothing."""


@dataclass(frozen=True, slots=True)
class TorchFiles:
    """The files of an artifact for torch.

    Attributes:
        format: Name of the format, and of the artifact's folder.
        weights: Name of the file with the weights.
        loaded_by: What loads it, in words.
        write: Writes the files into a folder, and loads them again the way users will.
        check: Refuses a subnet that the format cannot hold, with an `ExportError`.
        count_types: Counts the weights of each type in that file.
        takes_one: Whether it takes one image at a time; else it takes any batch.
        is_run: Whether what was written is what is run to compare it; else only what it was made from can be run here.
    """

    format: str
    weights: str
    loaded_by: str
    write: Callable[[Path, Materials, Supernet, Subnet, Listener], nn.Module]
    check: Callable[[Subnet], None] = _takes_any
    count_types: Callable[[Path], dict[str, int]] = _weight_types
    takes_one: bool = False
    is_run: bool = True


def export_for_torch(
    run: Run,
    materials: Materials,
    listener: Listener,
    files: TorchFiles,
    *,
    form: str,
    usage: Callable[[Manifest, Path], str],
) -> Path:
    """Write the retrained winner for torch, then load it again and check it on validation images.

    Args:
        run: A run whose winner has been retrained.
        materials: Its dataset and backbone.
        listener: Prints each step.
        files: What the format writes.
        form: How the subnet's modules are in the artifact, for its card.
        usage: How to load it, for its card.

    Returns:
        The artifact's folder, such as `export/safetensors` or `export/timm` of the run.

    Raises:
        CommandOrderError: If the winner has not been retrained.
        ExportError: If the format cannot hold the subnet, or what was written cannot be loaded.
        ParityError: If the loaded network does not agree with the retrained one.
    """
    model, subnet = load_retrained(run, materials)
    origin = describe_origin(run, materials, model, subnet)
    model.cpu()
    files.check(subnet)
    final = run.path("export", files.format)
    with new_artifact(run, final.name) as building:
        network = files.write(building, materials, model, subnet, listener)
        parity = _prove(network, files, materials, model, subnet, listener)
        manifest = _describe(building, origin, materials, files, parity)
        write_card(manifest, run, building / CARD_FILE, final, form=form, usage=usage(manifest, final))
        write_manifest(manifest, building)
    run.log("export", "finished", name=final.name, parity=[parity.model_dump(mode="json")])
    return final


def _prove(
    network: nn.Module,
    files: TorchFiles,
    materials: Materials,
    model: Supernet,
    subnet: Subnet,
    listener: Listener,
) -> Parity:
    evidence = gather_evidence(
        materials,
        model,
        subnet,
        raw_pixels=False,
        precision="fp32",
        values="logits",
        profile=ONNX_PROFILE,
        one_by_one=files.takes_one,
    )
    method: Literal["run", "simulated"] = "run" if files.is_run else "simulated"
    return evidence.compare(_Loaded(network), listener, method=method, runs_on=f"torch, by {files.loaded_by}")


class _Loaded:
    """A torch network with the interface through which `export.write.proof` runs models."""

    provider = "torch"
    reason = "it is for torch"
    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()
    metadata: dict[str, str] = {}  # noqa: RUF012  # never written to

    def __init__(self, network: nn.Module) -> None:
        self._network = network

    def run(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        return torch_outputs(self._network, values)


def _describe(
    folder: Path, origin: Mapping[str, Any], materials: Materials, files: TorchFiles, parity: Parity
) -> Manifest:
    preprocessing = materials.backbone.preprocessing
    batch = 1 if files.takes_one else BATCH_AXIS
    return Manifest(
        format=files.format,
        **origin,
        input=ModelInput(
            name=INPUT_NAME,
            shape=(batch, 3, preprocessing.height, preprocessing.width),
            type="float32",
            layout="NCHW",
            values="normalized",
        ),
        output=ModelOutput(
            name=_OUTPUT, shape=(batch, len(materials.dataset.classes)), type="float32", values="logits"
        ),
        precision="fp32",
        types={"weights": files.count_types(folder / files.weights)},
        parity=(parity,),
        files=file_records(folder),
        versions=installed_versions(),
    )
