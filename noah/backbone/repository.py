"""Loads a backbone from a repository on the hub or a folder of the same layout: weights, and a config.json beside them.

The config.json is timm's, which names the architecture, the arguments of its constructor and the preprocessing; or that
of `transformers`, of which only the weights are of use. Nothing of a repository but these two files is read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from timm.models import PretrainedCfg

from noah.backbone.architecture import Architecture, plain_arguments
from noah.backbone.build import check_buildable
from noah.backbone.from_weights import Loaded, place_weights, with_notes
from noah.backbone.hub import CONFIG, WEIGHTS, download_error, fetch, why_away
from noah.backbone.names import BackboneName, check_architecture
from noah.backbone.spellings import timm_name
from noah.backbone.weights_file import first_line, read_weights
from noah.errors import CheckpointError, UnknownBackboneError
from noah.files.bounded import parse_json, read_bounded

_LARGEST_CONFIG = 2**22
"""In bytes; the labels of ImageNet-21k take a quarter of it."""
_SOURCE = ("url", "file", "state_dict", "hf_hub_id", "hf_hub_filename", "source")
"""Where timm would look for the weights, which are here."""
_OTHER_WEIGHTS = ("*.safetensors", "*.pth", "*.pth.tar", "*.bin")
"""What a folder may call its weights otherwise, in timm's order of preference."""

Find = Callable[[str], Path | None]
"""Gives a file by its name; None if there is none."""


def load_repository(
    name: BackboneName, architecture: Architecture | None, image_size: int | None, arguments: Mapping[str, Any]
) -> Loaded:
    """Load a backbone from a repository on the hub, or its cache, or a folder.

    Args:
        name: Of the kind "hub" or "folder".
        architecture: What the user names; it counts only where config.json names none.
        image_size: Side of the input in pixels; None keeps the architecture's own.
        arguments: Arguments of the constructor, which replace those of config.json.

    Raises:
        UnknownBackboneError: If there is no such repository, or it has no weights.
        DownloadError: If the hub cannot be reached, and its cache does not hold all that is needed.
        CheckpointError: If config.json is damaged, or the weights do not fit.
        SettingsError: If no architecture is named, and the shapes of the weights leave it open.
        BackboneError, SettingsError: As in `build`; where config.json names the architecture, before the download.
    """
    place = name.place if name.revision is None else f"{name.place}@{name.revision}"

    def find(file: str) -> Path | None:
        if name.kind == "hub":
            return fetch(name.place, file, name.revision, place)
        path = Path(name.place) / file
        return path if path.is_file() else None

    described, configuration = _read_config(find(CONFIG), place)
    reason = ""
    if described is not None:
        architecture = described
        check_buildable(architecture.adding(arguments), image_size, configuration)
    elif architecture is not None:
        check_architecture(architecture.name)
    elif ours := timm_name(name.place):
        architecture = Architecture(ours.split(".")[0])
        reason = f"architecture {architecture}: that of {ours}, timm's name for {name.place}"
    path = next((path for file in WEIGHTS if (path := find(file)) is not None), None) or _other_weights(name)
    if path is None and name.kind == "hub" and (away := why_away()) is not None:
        raise download_error(place, away)
    if path is None:
        raise UnknownBackboneError(
            f"{place} has no weights: none of {', '.join(WEIGHTS[:4])} is there.",
            "Give the file itself with --backbone FILE --backbone-arch NAME.",
        )
    loaded = place_weights(read_weights(path), str(path), architecture, image_size, arguments, configuration)
    return with_notes(loaded, reason)


def _read_config(path: Path | None, place: str) -> tuple[Architecture | None, dict[str, Any] | None]:
    """Read the architecture and timm's `pretrained_cfg`; (None, None) if the file is none of timm's.

    Raises:
        CheckpointError: If the file is damaged, or asks for what is no description of a network.
    """
    if path is None:
        return None, None
    try:
        content = parse_json(read_bounded(path, _LARGEST_CONFIG).decode())
        if not isinstance(content, dict) or not isinstance(content.get("architecture"), str):
            return None, None
        configuration = content.get("pretrained_cfg", content)
        if not isinstance(configuration, dict):
            raise ValueError("pretrained_cfg is no mapping")
        known = PretrainedCfg.__dataclass_fields__.keys() - set(_SOURCE)
        kept = {key: value for key, value in configuration.items() if key in known}
        arguments = content.get("model_args", {})
        if not isinstance(arguments, dict):
            raise ValueError("model_args is no mapping")
        architecture = Architecture(content["architecture"], plain_arguments(arguments))
        side = arguments.get("img_size")
        if side is not None:
            kept["input_size"] = (3, *(side if isinstance(side, list) else (side, side)))
            kept["fixed_input_size"] = True
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{place}: its {CONFIG} cannot be used: {first_line(error)}.", "Get the files again from where they came."
        ) from error
    check_architecture(architecture.name)
    return architecture, kept


def _other_weights(name: BackboneName) -> Path | None:
    """The file of weights in a folder if it has none of the usual names.

    Raises:
        UnknownBackboneError: If there are several.
    """
    if name.kind != "folder":
        return None
    for pattern in _OTHER_WEIGHTS:
        found = sorted(Path(name.place).glob(pattern))
        if len(found) > 1:
            raise UnknownBackboneError(
                f"{name.place} has several files of weights: {', '.join(path.name for path in found[:4])}.",
                "Give one of them with --backbone FILE --backbone-arch NAME.",
            )
        if found:
            return found[0]
    return None
