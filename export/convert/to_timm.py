"""Writes a subnet whose modules all fold into the backbone as a plain timm model: a state dict and a config.json."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import cast

import timm
import torch
from safetensors.torch import save
from torch import Tensor, nn

from noah.backbone.architecture import Architecture
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import ExportError
from noah.model.merge import folded_layers
from noah.model.supernet import Supernet
from noah.space.kinds import KINDS
from noah.space.subnet import Subnet

STATE_FILE = "model.safetensors"
CONFIG_FILE = "config.json"
"""The file names that timm looks for."""


def check_is_plain(subnet: Subnet) -> None:
    """Refuse a subnet that cannot be folded into the backbone's own layers.

    Raises:
        ExportError: If it has modules that do not fold, such as adapters or prompts; names them and their blocks.
    """
    parts = []
    for kind, widths in subnet.present:
        if not KINDS[kind].folds:
            blocks = [str(index + 1) for index, width in enumerate(widths) if width]
            plural = {"adapter": "adapters", "prompt": "prompts"}.get(kind, f"{kind} modules")
            parts.append(f"{plural} in {'blocks' if len(blocks) > 1 else 'block'} {', '.join(blocks)}")
    if parts:
        raise ExportError(
            f"The subnet has {' and '.join(parts)}, but a plain timm model can only hold what folds into its layers.",
            "Use --format safetensors, which noah.load reads, or --format onnx; or train a subnet that folds: "
            "noah retrain --subnet lora:8",
        )


@torch.no_grad()
def write_timm(
    folder: Path,
    supernet: Supernet,
    subnet: Subnet,
    *,
    architecture: str,
    classes: tuple[str, ...],
    preprocessing: Preprocessing,
) -> None:
    """Write the folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads.

    Args:
        folder: Where the two files go.
        supernet: The weights, on the CPU.
        subnet: Has only modules that fold into the linear layers of the blocks.
        architecture: The text of an `Architecture`: timm's name, and arguments of its constructor in brackets.
        classes: Labels in the order of the logits.
        preprocessing: Turns an image into the network's input.

    Raises:
        ExportError: As in `check_is_plain`.
    """
    check_is_plain(subnet)
    state = folded_state(supernet, subnet)
    content = save({name: value.contiguous() for name, value in state.items()}, metadata={"format": "pt"})
    (folder / STATE_FILE).write_bytes(content)
    text = json.dumps(_config(supernet, architecture, classes, preprocessing), indent=1, ensure_ascii=False)
    (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8", newline="\n")


@torch.no_grad()
def folded_state(supernet: Supernet, subnet: Subnet) -> dict[str, Tensor]:
    """The state of timm's own network with a subnet folded in, and the head.

    Args:
        supernet: The weights.
        subnet: Has only modules that fold into the linear layers of the blocks.

    Raises:
        ExportError: If something folds into a bias that the backbone does not have.
    """
    view = supernet.view
    of_head = view.state_of_head(supernet.head)
    state: dict[str, Tensor] = {
        name: value for name, value in supernet.backbone.state_dict().items() if name not in of_head
    }
    for index in range(view.depth):
        for place, value in view.state_of_block(index, folded_layers(supernet, subnet, index)).items():
            if place not in state:
                raise ExportError(
                    f"The subnet folds into a bias, {place}, which the backbone does not have.",
                    "Use --format safetensors, which noah.load reads, or --format onnx.",
                )
            state[place] = value
    return {name: value.detach().clone() for name, value in (state | of_head).items()}


def load_timm(folder: Path) -> nn.Module:
    """Load a folder that `write_timm` wrote the way any timm user would, in evaluation mode.

    Raises:
        ExportError: If timm cannot load it.
    """
    try:
        return cast(nn.Module, timm.create_model(f"local-dir:{folder}", pretrained=True)).eval()
    except pickle.UnpicklingError as error:
        raise ExportError(
            f"timm {timm.__version__} reads no safetensors file from a folder.",
            "Update timm, or use --format safetensors.",
        ) from error
    except (RuntimeError, TypeError, ValueError, KeyError, AssertionError) as error:
        cause = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ExportError(f"timm cannot load what was written: {cause}", "Use --format safetensors.") from error


def _config(
    supernet: Supernet, architecture: str, classes: tuple[str, ...], preprocessing: Preprocessing
) -> dict[str, object]:
    backbone = supernet.backbone
    size, named = (preprocessing.height, preprocessing.width), Architecture.read(architecture)
    return {
        "architecture": named.base,
        "num_classes": len(classes),
        "num_features": supernet.embed_dim,
        "global_pool": backbone.global_pool,
        "label_names": classes,
        "model_args": {**named.arguments, "img_size": size},
        "pretrained_cfg": {
            "tag": "noah",
            "custom_load": False,
            "input_size": (3, *size),
            "fixed_input_size": True,
            "interpolation": preprocessing.interpolation,
            "crop_pct": preprocessing.crop_fraction,
            "crop_mode": "squash" if preprocessing.resize == "squash" else "center",
            "mean": preprocessing.mean,
            "std": preprocessing.std,
            "num_classes": len(classes),
            "pool_size": None,
            "first_conv": backbone.pretrained_cfg.get("first_conv", "patch_embed.proj"),
            "classifier": backbone.pretrained_cfg.get("classifier", "head"),
        },
    }
