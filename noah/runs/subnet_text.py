"""Reads a subnet as the user types it: `published:cifar`, `FILE.json`, `lora:8+adapter:4`, `bias` or `linear`."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noah.errors import SettingsError, UsageError
from noah.files.bounded import LARGEST_JSON
from noah.runs.published_subnets import published_subnet
from noah.space.kinds import GROUPS, KINDS
from noah.space.subnet import Subnet

LARGEST_WIDTH = 1_000
"""A wider module is assumed to be a typing error."""

LARGEST_FILE = LARGEST_JSON
"""Bytes; a larger file is refused before it is read. All that noah writes with a subnet in it is smaller."""

_PUBLISHED = "published:"
_LINEAR = "linear"
_WORDS = (*KINDS, *GROUPS, _LINEAR, _PUBLISHED.rstrip(":"))
_SPELLINGS = "Write it as lora:8, lora:8+adapter:4, lora_all:4, bias, linear, published:cifar or FILE.json."
_FILES = (
    "A file holds the lists prompt, lora and adapter, and one for each other kind that there is, alone or under the "
    "key subnet, as a run's best.json does."
)


def parse_subnet(text: str, *, depth: int) -> Subnet:
    """Read a subnet from what was typed after `--subnet`.

    - `lora:8`, `adapter_plus:8`, `prompt:50` and so on, any of `noah.space.kinds.KINDS`, or several joined by `+`:
      these widths in every block. What is on or off, such as `bias`, is written without a width. `lora_all:4` is LoRA
      on every linear layer.
    - `linear`: no module in any block; the head alone is trained.
    - `published:NAME`: what `noah.runs.published_subnets.published_subnet` knows by this name.
    - `FILE.json`: a file with the lists `prompt`, `lora` and `adapter`, and one for each other kind that there is,
      alone or under the key `subnet`, as in a run's `best.json` and `model.json` and an artifact's `manifest.json`. It
      is parsed as JSON and nothing else.

    Args:
        text: What the user typed; spaces around its parts and capitals in its words make no difference.
        depth: The number of blocks of the backbone.

    Raises:
        UsageError: If it is not a subnet, or has another depth.
    """
    text = text.strip()
    subnet = _parse(text)
    if not isinstance(subnet, Subnet):
        return Subnet.uniform(depth, **subnet)
    if subnet.depth != depth:
        raise _error(
            text,
            f"it is for {subnet.depth} blocks, and the backbone has {depth}",
            "Give the widths of every block alike, such as lora:8, or use a backbone of that depth.",
        )
    return subnet


def check_spelling(text: str) -> None:
    """Refuse whatever `parse_subnet` would refuse for every depth.

    Raises:
        UsageError: If it is not a subnet.
    """
    _parse(text.strip())


def spell_widths(widths: Mapping[str, int]) -> str:
    """Spell the widths that modules have in every block, as `parse_subnet` reads them.

    There is one word for a whole group of kinds of the same width, and what is on or off stands without a width.

    Args:
        widths: Kind of module -> its width, at least 1.
    """
    words: dict[str, None] = {}
    for kind, width in widths.items():
        alike = (
            name for name, kinds in GROUPS.items() if kind in kinds and {widths.get(one) for one in kinds} == {width}
        )
        words[kind if KINDS[kind].is_switch else f"{next(alike, kind)}:{width}"] = None
    return "+".join(words)


def spell_subnet(subnet: Subnet) -> str:
    """Spell a subnet as `parse_subnet` reads it where all blocks are alike, and else name the kinds that it has."""
    blocks = [subnet.block(index) for index in range(subnet.depth)]
    if all(block == blocks[0] for block in blocks):
        return spell_widths(blocks[0]) or _LINEAR
    return f"{'+'.join(subnet.kinds)}, block by block"


def _parse(text: str) -> Subnet | dict[str, int]:
    """Read a subnet with a depth of its own, or the widths that the modules have in every block."""
    if not text:
        raise UsageError("--subnet: nothing is given.", _SPELLINGS)
    if text.lower().startswith(_PUBLISHED):
        if "+" in text:
            raise _error(text, "a published subnet cannot be joined with anything", _SPELLINGS)
        return published_subnet(text[len(_PUBLISHED) :])
    return _read_file(text) if text.lower().endswith(".json") else _parse_widths(text)


def _parse_widths(text: str) -> dict[str, int]:
    """Read the width of each module from `lora:8+adapter:4` or `linear`."""
    widths: dict[str, int] = {}
    parts = [part.strip() for part in text.split("+")]
    for part in parts:
        word, colon, digits = (piece.strip() for piece in part.partition(":"))
        word = word.lower()
        if not part:
            raise _error(text, "there is nothing on one side of a +", _SPELLINGS)
        if word == _LINEAR:
            if colon or len(parts) > 1:
                raise _error(text, "linear stands alone; it means no module in any block", _SPELLINGS)
            return {}
        if f"{word}:" == _PUBLISHED and len(parts) == 1:
            raise _error(text, "the name of the published subnet is missing", "Write it as published:cifar.")
        if f"{word}:" == _PUBLISHED or word.endswith(".json"):
            raise _error(text, f"{_shown(part)} cannot be joined with anything", _SPELLINGS)
        if word not in KINDS and word not in GROUPS:
            raise _error(text, f"{_shown(part)} is neither a module nor a file", f"{_meant(word)} {_SPELLINGS}")
        switch = word in KINDS and KINDS[word].is_switch
        width = 1 if switch and not colon else _parse_width(text, word, digits)
        if switch and width > 1:
            raise _error(text, f"{word} has no width: a block has it or not", f"Write {word} alone.")
        for kind in GROUPS.get(word, (word,)):
            if kind in widths:
                groups = [f"; {name} has it, too" for name, kinds in GROUPS.items() if kind in kinds and name in text]
                raise _error(text, f"{kind} is given twice", f"Give {kind} once{''.join(groups)}.")
            widths[kind] = width
    return widths


def _meant(word: str) -> str:
    """Guess which word was meant, also from the name of a kind's method; without a guess, list all."""
    methods = [name for name, kind in KINDS.items() if f"({word})" in kind.words.lower()]
    near = methods[:1] or difflib.get_close_matches(word, _WORDS, n=1)
    return f"Did you mean {near[0]}?" if near else f"There are {', '.join((*KINDS, *GROUPS))}."


def _parse_width(text: str, module: str, digits: str) -> int:
    switch = module in KINDS and KINDS[module].is_switch
    right = f"Write {module} alone." if switch else f"Write it as {module}:8."
    if not digits:
        raise _error(text, f"the width of {module} is missing", right)
    match = re.fullmatch(r"(-?)0*([0-9]*)", digits)
    if not match or digits == "-":
        raise _error(text, f"the width of {module} is not a whole number", right)
    negative, significant = match.groups()
    if not significant:
        raise _error(text, f"the width of {module} is 0", f"Leave {module} out, or write linear for no module at all.")
    if negative:
        raise _error(text, f"the width of {module} is negative", right)
    if len(significant) > len(str(LARGEST_WIDTH)) or int(significant) > LARGEST_WIDTH:
        raise _error(text, f"the width of {module} is above {LARGEST_WIDTH:,}", right)
    return int(significant)


def _read_file(text: str) -> Subnet:
    try:
        value = json.loads(_read_bytes(text).decode("utf-8-sig"))
        if isinstance(value, dict) and not set(KINDS) & value.keys():
            value = value.get("subnet")
        return _to_subnet(text, value)
    except (ValueError, RecursionError) as error:
        raise _error(text, f"it is not JSON ({_shown(str(error))})", _FILES) from error


def _to_subnet(text: str, value: Any) -> Subnet:
    if not isinstance(value, Mapping):
        raise _error(text, "it holds no subnet", _FILES)
    try:
        subnet = Subnet.from_json(value)
    except SettingsError as error:
        first, *others = (problem.removeprefix("subnet: ") for problem in error.problems)
        more = f", and {len(others)} more such problems" if others else ""
        raise _error(text, f"{_shown(first, 200)}{more}", _FILES) from error
    for module, row in subnet.present:
        if max(row) > LARGEST_WIDTH:
            raise _error(text, f"a width of {module} is above {LARGEST_WIDTH:,}", "Give a narrower subnet.")
    return subnet


def _read_bytes(text: str) -> bytes:
    """Read a regular file that is not too large; nothing else is opened."""
    try:
        if not Path(text).is_file():
            raise _error(text, "there is no such file", "Check the path after --subnet.")
        with Path(text).open("rb") as file:
            if os.fstat(file.fileno()).st_size > LARGEST_FILE:
                raise _error(text, f"the file is larger than {LARGEST_FILE // 2**20} MiB", _FILES)
            return file.read(LARGEST_FILE)
    except OSError as error:
        raise _error(text, f"the file cannot be read ({error.strerror})", "Check the path after --subnet.") from error


def _error(text: str, problem: str, hint: str) -> UsageError:
    return UsageError(f"--subnet {_shown(text)}: {problem}.", hint)


def _shown(text: str, length: int = 100) -> str:
    """Shorten what was typed or read to fit on one line of an error."""
    text = text if text.isprintable() else ascii(text)
    return text if len(text) <= length else f"{text[:length]}..."
