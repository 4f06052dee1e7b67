"""`noah recipes`: the shipped settings."""

from __future__ import annotations

from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="A recipe to print whole, with every default.")] = None,
) -> None:
    """List the shipped recipes, or print one with the source of each value."""
    from noah.layers import flatten, recipe_layer, recipe_names, recipe_text, resolve

    if name is None:
        for known in recipe_names():
            typer.echo(recipe_text(known).splitlines()[0].removeprefix("# "))
        return
    settings, origins = resolve([recipe_layer(name)])
    for key, value in flatten(settings.model_dump(mode="json")):
        typer.echo(f"{key}={'null' if value is None else value}  # {origins[key]}")
