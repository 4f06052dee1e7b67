"""Loads weights that timm knows by name, from the hub or its cache, as timm itself loads them."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import timm
from torch import nn

from noah.backbone.architecture import Architecture
from noah.backbone.build import build, check_buildable
from noah.backbone.hub import WEIGHTS, download_error, has_cached, why_away
from noah.errors import BackboneError, CheckpointError, SettingsError, UnknownBackboneError

_KEYS = re.compile(r"^(Missing|Unexpected) keys \((.*?)\) ")
_QUICK = ("_clip_", "_clip_quickgelu_")


def load_timm_weights(architecture: Architecture, image_size: int | None) -> tuple[nn.Module, list[str]]:
    """Load an architecture with the weights of its tag.

    Args:
        architecture: timm's name, whose tag chooses among its weights, and the arguments of the constructor.
        image_size: Side of the input in pixels; None keeps the architecture's own.

    Returns:
        The network without a head, and what timm says about the weights, as sentences.

    Raises:
        UnknownBackboneError: If timm has no weights of that tag.
        DownloadError: If the hub cannot be reached.
        CheckpointError: If the weights lack something that the arguments add.
        BackboneError, SettingsError: As in `build`; before anything is downloaded.
    """
    name = architecture.name
    _check_tag(architecture)
    check_buildable(architecture, image_size)
    try:
        _check_network(name)
        with _told_by_timm() as told:
            model = build(architecture, image_size, pretrained=True)
    except (BackboneError, SettingsError):
        raise
    except (OSError, ValueError, RuntimeError) as error:
        # Hub clients raise errors of their own for every way in which a network can fail.
        raise download_error(name, error) from error
    missing, unexpected = told["Missing"], told["Unexpected"]
    if missing and architecture.arguments:
        raise CheckpointError(
            f"The weights of {name} have nothing for what --backbone-arg adds: {', '.join(missing[:3])}"
            f"{', ...' if len(missing) > 3 else ''}.",
            "Leave it out; arguments are for weights that were trained with them.",
        )
    notes = [f"the weights have no {', '.join(missing)}, which keep their first values, as in timm"] if missing else []
    if unexpected:
        notes.append(f"left out {', '.join(unexpected)}, for which the architecture has no place, as timm does")
    return model, [*notes, *timm_notes(name)]


def _check_tag(architecture: Architecture) -> None:
    known = timm.list_pretrained(f"{architecture.base}.*")
    if not (architecture.name in known if "." in architecture.name else known):
        raise UnknownBackboneError(
            f"The backbone {architecture.name!r} has no pre-trained weights in timm.",
            f"Those that have: {', '.join(known) or 'none'}.",
        )


def timm_notes(name: str) -> list[str]:
    """What timm says about weights: notes, and the license.

    Args:
        name: timm's name, with or without a tag.
    """
    configuration = timm.get_pretrained_cfg(name, allow_unregistered=True)
    if configuration is None:
        return []
    notes = [f"timm notes: {note}{_exact_variant(name)}" for note in configuration.notes or ()]
    if configuration.license:
        notes.append(f"license of the weights, as timm has it: {configuration.license}")
    return notes


def _exact_variant(name: str) -> str:
    """Where the same weights are with the activation that they were trained with."""
    variant = name.replace(*_QUICK) if _QUICK[1] not in name else name
    return f" ({variant})" if variant != name and variant in timm.list_pretrained() else ""


def _check_network(name: str) -> None:
    """Fail at once, not after a minute of retries, if the hub cannot be reached and the file is not in its cache."""
    configuration = timm.get_pretrained_cfg(name, allow_unregistered=True)
    repository = configuration.hf_hub_id if configuration else None
    if not repository:
        return
    own = (configuration.hf_hub_filename,) if configuration.hf_hub_filename else ()
    if has_cached(repository, files=(*own, *WEIGHTS)):
        return
    away = why_away()
    if away is not None:
        raise download_error(name, away) from away


@contextmanager
def _told_by_timm() -> Iterator[dict[str, list[str]]]:
    """Collect the names of weights that timm found missing or unexpected, which it tells only its log."""
    told: dict[str, list[str]] = {"Missing": [], "Unexpected": []}

    class Collect(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if match := _KEYS.match(record.getMessage()):
                told[match[1]].extend(match[2].split(", "))

    logger, handler = logging.getLogger("timm.models._builder"), Collect(logging.INFO)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield told
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def cached_weights(names: list[str]) -> list[str]:
    """Those of timm's weights whose files are in the hub's cache on this machine."""
    found: list[str] = []
    for name in names:
        configuration: Any = timm.get_pretrained_cfg(name, allow_unregistered=True)
        if configuration is not None and configuration.hf_hub_id:
            own = (configuration.hf_hub_filename,) if configuration.hf_hub_filename else WEIGHTS
            if has_cached(configuration.hf_hub_id, files=own):
                found.append(name)
    return found
