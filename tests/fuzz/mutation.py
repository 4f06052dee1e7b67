"""Damage to real files: bytes, numbers, and the structure of JSON; the same for the same seed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

HUGE = (10**4400, 10**400, 2**63, 2**63 - 1, -(2**63), 2**31, 10**12, 10**6, -1, 0, 1)
_NUMBER = re.compile(rb"(?<![\w.])-?\d+(\.\d+)?([eE][-+]?\d+)?")
_SPELLINGS = (b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b"-1", b"0", b"18446744073709551616", b"1e308", b"0x10", b"")


def damage(content: bytes, rng: Random, *, is_text: bool) -> bytes:
    """The content with one to four kinds of damage, one after the other."""
    ways = [*_BYTES, *(_TEXT * 2 if is_text else ())]
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        content = rng.choice(ways)(content, rng)
    return content


def damage_json(content: bytes, rng: Random) -> bytes:
    """A JSON text whose structure is changed in one to three places."""
    value = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        value = _change(value, rng)
    # A marker instead of the nesting itself, which Python could not write.
    return json.dumps(value).encode().replace(b'"<deep>"', b"[" * 20_000 + b"]" * 20_000)


def damage_line(content: bytes, rng: Random) -> bytes:
    """JSON lines of which one is changed as `damage_json` does."""
    lines = content.splitlines(keepends=True)
    place = rng.randrange(len(lines))
    lines[place] = damage_json(lines[place], rng) + b"\n"
    return b"".join(lines)


def _place(content: bytes, rng: Random) -> int:
    """A place in the content: often near the beginning, where headers are."""
    return min(int(rng.expovariate(1 / 200)), len(content)) if rng.random() < 0.5 else rng.randint(0, len(content))


def _flip(content: bytes, rng: Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(rng.choice((1, 1, 8, 100))):
        changed[_place(content[:-1], rng)] = rng.randrange(256)
    return bytes(changed)


def _truncate(content: bytes, rng: Random) -> bytes:
    return content[: _place(content, rng)]


def _insert(content: bytes, rng: Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + rng.randbytes(rng.choice((1, 4, 1000))) + content[place:]


def _remove(content: bytes, rng: Random) -> bytes:
    place = _place(content, rng)
    return content[:place] + content[place + rng.choice((1, 8, 500)) :]


def _repeat(content: bytes, rng: Random) -> bytes:
    place, length = _place(content, rng), rng.choice((1, 16, 300))
    return content[:place] + content[place : place + length] * rng.choice((2, 100)) + content[place:]


def _overwrite_number(content: bytes, rng: Random) -> bytes:
    """A binary number of 4 or 8 bytes becomes huge, negative or zero, as the sizes in headers are."""
    place, width = _place(content, rng), rng.choice((2, 4, 8))
    order: Any = rng.choice(("little", "big"))
    number = rng.choice((0, 1, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63, 2**64 - 1)) % 2 ** (8 * width)
    return content[:place] + number.to_bytes(width, order) + content[place + width :]


def _join_halves(content: bytes, rng: Random) -> bytes:
    place = _place(content, rng)
    return content[place:] + content[:place]


def _swap_number(content: bytes, rng: Random) -> bytes:
    """A decimal number becomes another one, or none."""
    found = list(_NUMBER.finditer(content))
    if not found:
        return content
    match = rng.choice(found)
    return content[: match.start()] + rng.choice(_SPELLINGS) + content[match.end() :]


def _swap_words(content: bytes, rng: Random) -> bytes:
    """One line takes the place of another."""
    lines = content.splitlines(keepends=True) or [b""]
    first, second = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first]
    return b"".join(lines)


def _nest(content: bytes, rng: Random) -> bytes:
    place, depth = _place(content, rng), rng.choice((50, 3000, 50_000))
    return content[:place] + rng.choice((b"[", b'{"a":', b"- ", b"(", b"!!")) * depth + content[place:]


_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip,
    _flip,
    _truncate,
    _insert,
    _remove,
    _repeat,
    _overwrite_number,
    _overwrite_number,
    _join_halves,
)
_TEXT: tuple[Callable[[bytes, Random], bytes], ...] = (_swap_number, _swap_number, _swap_words, _nest)


def _change(value: Any, rng: Random) -> Any:
    """A value with one place changed, at any depth."""
    if isinstance(value, dict) and value and rng.random() < 0.85:
        key = rng.choice(sorted(value))
        way = rng.random()
        if way < 0.12:
            return {name: inner for name, inner in value.items() if name != key}
        if way < 0.2:
            return value | {rng.choice(("", "\0", "x" * 10_000, "a.b", "é")): _strange(rng)}
        return value | {key: _change(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        place, way = rng.randrange(len(value)), rng.random()
        if way < 0.1:
            return value[:place]
        if way < 0.2:
            return value + [value[place]] * rng.choice((1, 3000))
        return [*value[:place], _change(value[place], rng), *value[place + 1 :]]
    return _strange(rng)


def _strange(rng: Random) -> Any:
    return rng.choice(
        (
            None,
            True,
            "",
            "\0",
            "é\ud800",
            "../../x",
            "/etc/passwd",
            "x" * 100_000,
            [],
            {},
            [[]],
            [None],
            {"": None},
            "<deep>",
            float("nan"),
            float("inf"),
            -float("inf"),
            1e308,
            0.5,
            -0.0,
            *(number for number in HUGE if abs(number) < 10**400),
        )
    )
