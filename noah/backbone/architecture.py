"""A network that timm can build: its name and the constructor arguments that make it differ from what timm has there.

Its text is a call in Python, such as `vit_large_patch16_224(init_values=1e-05)`, or the name alone. It stands wherever
a run, an artifact or a table of latencies says which network it is about, so two networks never share a text.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from noah.settings.keyword_text import NOT_OF_THE_NETWORK, SET_ELSEWHERE

_PLAIN = (bool, int, float, str)
_LONGEST = 4_000
"""Characters of a text; a stranger's artifact may hold any."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture.

    Args:
        name: timm's name, with or without the tag of its weights.
        arguments: Constructor arguments by name: numbers, texts, booleans, or lists of them.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, text: str) -> Architecture:
        """Read the text of an architecture.

        Raises:
            ValueError: If it is not one.
        """
        name, bracket, rest = text.partition("(")
        if not bracket:
            return cls(text)
        if len(text) > _LONGEST:
            raise ValueError("it is too long for an architecture")
        try:
            call = ast.parse(f"_({rest}", mode="eval").body
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError("what follows the name is not a list of arguments in brackets") from error
        if not isinstance(call, ast.Call) or call.args or any(keyword.arg is None for keyword in call.keywords):
            raise ValueError("what follows the name is not a list of arguments in brackets")
        if len({keyword.arg for keyword in call.keywords}) < len(call.keywords):
            raise ValueError("an argument is given twice")
        return cls(name, plain_arguments({str(one.arg): ast.literal_eval(one.value) for one in call.keywords}))

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in sorted(self.arguments.items()))
        return f"{self.name}({arguments})" if arguments else self.name

    @property
    def base(self) -> str:
        """The name without the tag of its weights."""
        return self.name.split(".")[0]

    def adding(self, arguments: Mapping[str, Any]) -> Architecture:
        """The same with more arguments, which replace those of the same name."""
        return Architecture(self.name, {**self.arguments, **arguments})


def plain_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Check constructor arguments that a file gives, and leave out those that noah gives itself.

    Raises:
        ValueError: If one is not a number, a text, a boolean or a list of them, or does not describe the network.
    """
    kept: dict[str, Any] = {}
    for name, value in arguments.items():
        if name in SET_ELSEWHERE:
            continue
        values = value if isinstance(value, list | tuple) else [value]
        if name in NOT_OF_THE_NETWORK or not name.isidentifier():
            raise ValueError(f"the argument {ascii(name)[:100]} does not describe a network")
        if value is None:
            continue  # timm leaves such arguments out
        if not all(isinstance(one, _PLAIN) for one in values):
            raise ValueError(f"the argument {name} is neither a number nor a text")
        kept[name] = list(values) if isinstance(value, tuple) else value
    return kept
