"""How much a command prints, and in which form; the options for it may be anywhere on its line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_NAMES = {"--quiet": "quiet", "-q": "quiet", "--verbose": "verbose", "-v": "verbose", "--json": "json"}


@dataclass(frozen=True, slots=True)
class Output:
    """What a command prints.

    Attributes:
        quiet: Print only errors, and the result if it is JSON.
        verbose: Also print every setting of a new run with its source.
        json: Print the result as one JSON object on standard output, and everything else on standard error.
    """

    quiet: bool = False
    verbose: bool = False
    json: bool = False


def split_output(arguments: Sequence[str]) -> tuple[Output, list[str]]:
    """Take the options for output out of a command line, up to a `--`.

    Args:
        arguments: What was typed after `noah`.

    Returns:
        The kind of output, and the other arguments.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    asked = {_NAMES[argument] for argument in arguments[:end] if argument in _NAMES}
    rest = [argument for argument in arguments[:end] if argument not in _NAMES]
    return Output("quiet" in asked, "verbose" in asked, "json" in asked), [*rest, *arguments[end:]]
