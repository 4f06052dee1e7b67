"""The vision transformers of timm: which of its architectures are told apart from all others, and their names.

The names are read from timm's source, so that a shell can complete them without importing timm, which takes seconds.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

FAMILY = (
    "vision_transformer",
    "deit",
    "eva",
    "beit",
    "vision_transformer_relpos",
    "vision_transformer_hybrid",
    "naflexvit",
    "vision_transformer_sam",
    "vitamin",
)
"""timm's modules whose architectures are vision transformers: one width, and one grid of tokens, in most or all
blocks."""
_ARCHITECTURE = re.compile(r"^@register_model\s+def (\w+)\(", re.MULTILINE)
_WIDTH = re.compile(r"\bembed_dim=(\d+)\b")
_PLACE = re.compile(r"""^[^#\n]*\b(?:hf_hub_id|url|file)=['"]\w""", re.MULTILINE)
_WEIGHTS = re.compile(r"""^    ['"]([a-z0-9_]+\.[\w.-]+)['"]:""", re.MULTILINE)


@cache
def family_architectures() -> tuple[str, ...]:
    """The vision transformers of timm by name, sorted; empty if timm is not where Python packages are."""
    return tuple(sorted(_constructors()))


def architectures_of_width(width: int) -> list[str]:
    """Those whose tokens can have so many channels, as far as timm's source tells without being run."""
    widths = {name: set(map(int, _WIDTH.findall(source))) for name, source in _constructors().items()}
    return sorted(name for name, known in widths.items() if not known or width in known)


@cache
def family_weights() -> tuple[str, ...]:
    """The names of their weights in timm, NAME.TAG, sorted, but for those that timm derives from others."""
    known = set(family_architectures())
    found = set()
    for source in _sources():
        parts = _WEIGHTS.split(source)  # what is before the first name, then names and what follows them in turns
        found |= {name for name, entry in zip(parts[1::2], parts[2::2], strict=True) if _PLACE.search(entry)}
    return tuple(sorted(name for name in found if name.split(".")[0] in known))


@cache
def _constructors() -> dict[str, str]:
    """The source of the function that builds each architecture."""
    found: dict[str, str] = {}
    for source in _sources():
        parts = _ARCHITECTURE.split(source)  # what is before the first name, then names and what follows them in turns
        found |= dict(zip(parts[1::2], parts[2::2], strict=True))
    return found


@cache
def _sources() -> tuple[str, ...]:
    package = find_spec("timm")
    if package is None or package.origin is None:
        return ()
    folder = Path(package.origin).parent / "models"
    files = [folder / f"{module}.py" for module in FAMILY]
    return tuple(file.read_text(encoding="utf-8") for file in files if file.is_file())
