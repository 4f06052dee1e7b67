"""From weights to a backbone that has them: of the architecture that is named, or that they look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from noah.backbone.architecture import Architecture
from noah.backbone.build import build, check_buildable
from noah.backbone.fit import fit
from noah.backbone.jax_checkpoint import load_jax_checkpoint
from noah.backbone.names import check_architecture
from noah.backbone.shapes import likest, the_only_one
from noah.backbone.unwrap import Unwrapped
from noah.backbone.weights_file import first_line, read_weights
from noah.errors import CheckpointError, SettingsError, UnknownBackboneError

_ADD = "Add --backbone-arch with timm's name for it, such as --backbone-arch vit_base_patch16_224."


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network with its weights.

    Args:
        model: Without a head.
        architecture: Its architecture.
        notes: What was found out and done on the way, as sentences without a period.
        own_preprocessing: Whether the preprocessing of the weights is known, and not only the architecture's default.
    """

    model: nn.Module
    architecture: Architecture
    notes: tuple[str, ...] = ()
    own_preprocessing: bool = False


def load_file(
    path: Path, architecture: Architecture | None, image_size: int | None, arguments: Mapping[str, Any]
) -> Loaded:
    """Load a local file.

    Args:
        path: An original `.npz` of JAX, a `.safetensors`, or what torch saved.
        architecture: The architecture that the user names; None finds it by the shapes of the weights.
        image_size: Side of the input in pixels; None keeps the architecture's own.
        arguments: Arguments of the architecture's constructor.

    Raises:
        UnknownBackboneError: If there is no such file or architecture.
        SettingsError: If no architecture is named, and the shapes leave it open.
        CheckpointError: If the file cannot be read, or the weights do not fit.
        BackboneError, SettingsError: As in `build`.
    """
    if not path.is_file():
        raise UnknownBackboneError(f"The backbone file {path} does not exist.", "Check the path after --backbone.")
    if architecture is not None:
        check_architecture(architecture.name)
    if path.suffix.lower() == ".npz":
        return _load_jax_file(path, architecture, image_size, arguments)
    if architecture is not None:
        check_buildable(architecture.adding(arguments), image_size)
    return place_weights(read_weights(path), str(path), architecture, image_size, arguments)


def place_weights(
    unwrapped: Unwrapped,
    name: str,
    architecture: Architecture | None,
    image_size: int | None,
    arguments: Mapping[str, Any],
    configuration: Mapping[str, Any] | None = None,
) -> Loaded:
    """Build the architecture of weights and fit them into it.

    Args:
        unwrapped: The weights of a file.
        name: The file, for errors.
        architecture: As it is named; None finds it by the shapes of the weights.
        image_size: Side of the input in pixels; None keeps the architecture's own.
        arguments: Arguments of the architecture's constructor.
        configuration: What timm calls `pretrained_cfg`; None takes that of the architecture.

    Raises:
        SettingsError: If no architecture is named, and the shapes leave it open.
        CheckpointError: If the weights do not fit.
        BackboneError, SettingsError: As in `build`.
    """
    notes = []
    if architecture is None:
        architecture, reason = _recognize(unwrapped, name)
        notes.append(reason)
    architecture = architecture.adding(arguments)
    model = build(architecture, image_size, configuration=configuration)
    try:
        fitted = fit(model, architecture, unwrapped.state, name, unwrapped.told)
    except CheckpointError as error:
        likely = _look_like(unwrapped, architecture)
        raise CheckpointError(error.problem, likely or error.hint) from error
    told = "; ".join(filter(None, (unwrapped.told, fitted)))
    if told:
        notes.append(f"weights: {told}")
    return Loaded(model, architecture, tuple(notes), own_preprocessing=configuration is not None)


def _load_jax_file(
    path: Path, architecture: Architecture | None, image_size: int | None, arguments: Mapping[str, Any]
) -> Loaded:
    if architecture is None:
        raise SettingsError([f"backbone: the file {path} does not tell its architecture"], _ADD)
    architecture = architecture.adding(arguments)
    model = build(architecture, image_size)
    try:
        load_jax_checkpoint(model, path)
    except Exception as error:
        # Readers of damaged or hostile files raise many kinds of error; each means the same to the user.
        raise CheckpointError(
            f"{path} does not fit the architecture {architecture}: {first_line(error)}",
            "A .npz file has to be the original JAX checkpoint of that architecture.",
        ) from error
    return Loaded(model, architecture)


def _recognize(unwrapped: Unwrapped, name: str) -> tuple[Architecture, str]:
    """Find the architecture of weights by their shapes, and say so.

    Raises:
        SettingsError: If it is none, or could be one or another.
    """
    found = likest(unwrapped.state)
    only = the_only_one(found)
    if only is not None:
        return Architecture(only), f"architecture {only}: of all in timm, only it has weights of these names and shapes"
    exact = [one.architecture for one in found if one.share == 1 and one.same_grid == found[0].same_grid]
    if exact:
        why = f"its weights fit {len(exact)} architectures, which differ in what shapes do not tell: {_listed(exact)}"
    elif found:
        why = f"its weights look most like {found[0].architecture}, but {1 - found[0].share:.0%} of them are others"
    else:
        why = f"its weights look like no architecture of timm{_after(unwrapped)}"
    raise SettingsError([f"backbone: the file {name} does not tell its architecture; {why}"], _ADD)


def _look_like(unwrapped: Unwrapped, architecture: Architecture) -> str:
    """What weights look like that do not fit; empty if like nothing better."""
    found = [one for one in likest(unwrapped.state) if one.architecture != architecture.base]
    if not found:
        return ""
    best = [one.architecture for one in found if (one.share, one.same_grid) == (found[0].share, found[0].same_grid)]
    return f"These weights look like {_listed(best)}. Check --backbone-arch."


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:4])}{' and more' if len(names) > 4 else ''}"


def _after(unwrapped: Unwrapped) -> str:
    return f" ({unwrapped.told})" if unwrapped.told else ""


def with_notes(loaded: Loaded, *notes: str) -> Loaded:
    """The same with more notes, before its own."""
    return replace(loaded, notes=(*filter(None, notes), *loaded.notes))
