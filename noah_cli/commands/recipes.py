"""`noah recipes`: lists the shipped settings."""

from __future__ import annotations

from typing import Annotated

import typer

from noah_cli.options.completion import complete_recipe
from noah_cli.terminal.console import open_listener


def recipes(
    context: typer.Context,
    name: Annotated[
        str | None,
        typer.Argument(
            help="A recipe to print in full, with every default.", metavar="NAME", autocompletion=complete_recipe
        ),
    ] = None,
) -> None:
    """List the shipped recipes, or print one with the source of each value."""
    from noah.settings.layers import flatten, recipe_layer, recipe_names, recipe_text, resolve

    listener = open_listener(context)
    if name is None:
        titles = {known: recipe_text(known).splitlines()[0].removeprefix("# ") for known in recipe_names()}
        for title in titles.values():
            listener.console.print(title, markup=False, soft_wrap=True)
        listener.result({"recipes": titles})
        return
    settings, origins = resolve([recipe_layer(name)])
    values = settings.model_dump(mode="json")
    for key, value in flatten(values):
        text = f"{key}={'null' if value is None else value}  # {origins[key]}"
        listener.console.print(text, markup=False, soft_wrap=True)
    listener.result({"recipe": name, "settings": values, "sources": dict(origins)})
