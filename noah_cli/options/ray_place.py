"""`--ray` with and without a place behind it; an option of typer's takes a value always or never."""

from __future__ import annotations

from collections.abc import Sequence

from noah.cluster.session import HERE, PLACES

OPTION = "--ray"


def with_ray_place(arguments: Sequence[str]) -> list[str]:
    """Write this machine behind each `--ray` that no place follows, up to a `--`.

    Args:
        arguments: What was typed after `noah`.
    """
    written: list[str] = []
    end = arguments.index("--") if "--" in arguments else len(arguments)
    for place, argument in enumerate(arguments):
        written.append(argument)
        if argument == OPTION and place < end:
            following = arguments[place + 1] if place + 1 < end else ""
            if not PLACES.fullmatch(following):
                written.append(HERE)
    return written
