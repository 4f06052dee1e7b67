"""Saves and loads one trained subnet without its backbone: modules and head in one safetensors file of a few MB.

The file's metadata, each a JSON text, are the subnet, the classes, the preprocessing, the backbone it belongs to, and
its logits for one made-up image. These logits are compared on loading, because another backbone, or other weights of
the same one, would otherwise go unnoticed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from noah.backbone.families.registry import sizes_of
from noah.backbone.load import load_backbone
from noah.data.decoding import AS_STORED, Decoding
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ArtifactError, CheckpointError, SettingsError, UnknownBackboneError
from noah.files.bounded import parse_json
from noah.model.kinds.module import output_of
from noah.model.merge import MergedViT, merge
from noah.model.supernet import Supernet
from noah.settings.settings import BackboneSettings
from noah.space.subnet import Subnet
from noah.version import __version__

MODULES_FILE = "modules.safetensors"
FORMAT_VERSION = 1
_KEY = "noah."
_PROBE_TOLERANCE = 1e-4
"""Relative to the largest logit: a hundred times the effect of rounding, a thousandth of that of another backbone."""


@dataclass(frozen=True)
class SavedModules:
    """What the file holds besides the weights.

    Attributes:
        subnet: The widths of the modules.
        classes: The class names in the order of the logits.
        preprocessing: Turns an image into the network's input.
        decoding: How image files are read.
        backbone: The settings with which the run loaded its backbone.
        architecture: timm's name for the backbone's architecture.
        probe: The logits (classes) for one image of noise.
        strengths: The strength of each kind of module that has another than 1.
    """

    subnet: Subnet
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    decoding: Decoding
    backbone: BackboneSettings
    architecture: str
    probe: tuple[float, ...]
    strengths: Mapping[str, float]


class Classifier(nn.Module):
    """A trained subnet with its backbone, from images to logits; made by `load`.

    Args:
        supernet: The backbone, the head, and modules of exactly the subnet's size; in evaluation mode.
        saved: What the file holds besides the weights.
    """

    def __init__(self, supernet: Supernet, saved: SavedModules) -> None:
        super().__init__()
        self.supernet = supernet
        self.subnet = saved.subnet
        self.classes = saved.classes
        self.preprocessing = saved.preprocessing
        self.decoding = saved.decoding

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits (B, classes) of normalized images (B, 3, H, W)."""
        return output_of(self.supernet, images, self.subnet)

    def merge(self) -> MergedViT:
        """Merge it into one plain network, which is faster."""
        return merge(self.supernet, self.subnet)


def save_modules(
    path: Path,
    supernet: Supernet,
    subnet: Subnet,
    *,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
    backbone: BackboneSettings,
    architecture: str,
    decoding: Decoding = AS_STORED,
) -> None:
    """Write the modules and head of a supernet of exactly the subnet's size.

    Args:
        path: The file to write.
        supernet: The weights; it has to be in evaluation mode and on the CPU.
        subnet: The largest widths of the supernet.
        classes: The class names in the order of the logits.
        preprocessing: Turns an image into the network's input.
        backbone: The settings with which the backbone was loaded.
        architecture: timm's name for the backbone's architecture.
        decoding: How image files are read.
    """
    if subnet != supernet.largest:
        raise ValueError("a supernet that is larger than its subnet would be saved whole")
    notes = {
        "format_version": FORMAT_VERSION,
        "created_by": f"noah {__version__}",
        "subnet": subnet.to_json(),
        "classes": classes,
        "preprocessing": preprocessing.to_json(),
        "decoding": decoding.to_json(),
        "backbone": backbone.model_dump(mode="json"),
        "architecture": architecture,
        "probe": _probe(supernet, subnet, preprocessing),
        "strengths": supernet.strengths,
    }
    metadata = {f"{_KEY}{name}": json.dumps(value, ensure_ascii=False) for name, value in notes.items()}
    state = {name: value.detach().contiguous() for name, value in supernet.trainable_state().items()}
    path.write_bytes(save(state, metadata))  # save_file would write a file that only its owner can read


def read_saved(path: Path) -> tuple[SavedModules, dict[str, Tensor]]:
    """Read a file that `save_modules` wrote: its metadata, and the weights by name.

    Raises:
        ArtifactError: If it is missing, damaged, from a newer noah, or another kind of file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            notes = {
                name.removeprefix(_KEY): parse_json(text)
                for name, text in (file.metadata() or {}).items()
                if name.startswith(_KEY)
            }
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except FileNotFoundError:
        raise ArtifactError(f"No saved modules here: {path} does not exist.", _WRITE) from None
    except (OSError, SafetensorError, KeyError, ValueError, RuntimeError) as error:
        raise ArtifactError(f"{path} cannot be read: {error}", _WRITE) from error
    version = notes.get("format_version")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise ArtifactError(
            f"{path} has format_version {version}, and this noah reads up to {FORMAT_VERSION}.",
            "Update noah: pip install --upgrade noah-prompt-search",
        )
    try:
        saved = SavedModules(
            subnet=Subnet.from_json(notes["subnet"]),
            classes=tuple(map(str, notes["classes"])),
            preprocessing=Preprocessing.from_json(notes["preprocessing"]),
            decoding=Decoding.from_json(dict(notes.get("decoding", {}))),
            backbone=BackboneSettings.model_validate(notes["backbone"]),
            architecture=str(notes["architecture"]),
            probe=tuple(map(float, notes["probe"])),
            strengths={str(kind): float(value) for kind, value in dict(notes.get("strengths", {})).items()},
        )
    except KeyError as error:
        raise ArtifactError(f"{path} holds no modules of noah: its note {error} is missing.", _WRITE) from error
    except (TypeError, ValueError, SettingsError) as error:
        raise ArtifactError(f"{path} holds no modules of noah: {error}", _WRITE) from error
    return saved, state


def load(path: str | Path, *, backbone: nn.Module | str | None = None) -> Classifier:
    """Load the torch network from a file that `noah export --format safetensors` wrote.

    Args:
        path: The artifact's folder, or its `modules.safetensors`.
        backbone: A timm network at the input size of the run, which is frozen and shared, not copied; or
            another name or file of the same weights. None loads the backbone by the name that the run used.

    Returns:
        The network in evaluation mode, on the CPU or the given backbone's device. Its modules can be trained further.

    Raises:
        ArtifactError: If the file is missing or damaged.
        CheckpointError: If the backbone is not the run's.
        BackboneError: If the backbone cannot be loaded.
        UnknownBackboneError: If there is no backbone of that name or at that path.
    """
    path = Path(path)
    path = path / MODULES_FILE if path.is_dir() else path
    saved, state = read_saved(path)
    network = _load_backbone(saved, backbone, path) if backbone is None or isinstance(backbone, str) else backbone
    if saved.subnet.parameter_count(sizes_of(network)) > sum(value.numel() for value in state.values()):
        raise CheckpointError(
            f"The modules of {path} do not fit the backbone.", _hint(saved)
        )  # and might not fit into the memory
    supernet = Supernet(network, saved.subnet, num_classes=len(saved.classes), strengths=saved.strengths).eval()
    expected = {name: value.shape for name, value in supernet.trainable_state().items()}
    if expected != {name: value.shape for name, value in state.items()}:
        raise CheckpointError(f"The modules of {path} do not fit the backbone.", _hint(saved))
    supernet.load_trainable_state(state)
    try:
        found = np.array(_probe(supernet, saved.subnet, saved.preprocessing))
    except (AssertionError, RuntimeError) as error:  # from timm or torch, for an image of another size
        raise CheckpointError(f"The backbone does not take the images of {path}: {error}", _hint(saved)) from error
    difference = np.abs(found - saved.probe).max() / np.abs(saved.probe).max()
    if not difference < _PROBE_TOLERANCE:
        raise CheckpointError(
            f"The backbone has other weights than the one that the modules of {path} were trained on: the logits for "
            f"the same image differ by {difference:.1e} of the largest.",
            _hint(saved),
        )
    return Classifier(supernet, saved).eval()


_WRITE = "Write it with: noah export --format safetensors"


def _hint(saved: SavedModules) -> str:
    size = f"{saved.preprocessing.height} x {saved.preprocessing.width} px"
    return f"Give the backbone of the run, {saved.backbone.name} ({saved.architecture}) at {size}."


def _load_backbone(saved: SavedModules, name: str | None, path: Path) -> nn.Module:
    settings = saved.backbone
    try:
        return load_backbone(
            settings.name if name is None else name,
            architecture=settings.architecture or saved.architecture,
            arguments=settings.keywords,
            image_size=settings.image_size,
            resize=settings.resize,
            mean=settings.mean,
            std=settings.std,
            interpolation=settings.interpolation,
        ).model
    except UnknownBackboneError as error:
        raise UnknownBackboneError(
            error.problem, f"Name the backbone, or give it: noah.load({str(path)!r}, backbone=...)"
        ) from error


@torch.inference_mode()
def _probe(supernet: Supernet, subnet: Subnet, preprocessing: Preprocessing) -> list[float]:
    """The logits for one image of noise, which is the same on every machine."""
    noise = np.random.default_rng(0).normal(size=(1, 3, preprocessing.height, preprocessing.width))
    weight = supernet.head.weight
    return list(output_of(supernet, torch.from_numpy(noise).to(weight), subnet)[0].tolist())
