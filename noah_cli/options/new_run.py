"""Prints the settings of a new run."""

from __future__ import annotations

from collections.abc import Mapping

from noah.settings.layers import flatten
from noah.settings.settings import Settings
from noah_cli.terminal.console import ConsoleListener


def tell_settings(listener: ConsoleListener, settings: Settings, origins: Mapping[str, str]) -> None:
    """Print every setting with its source, if --verbose asks for it."""
    for key, value in flatten(settings.model_dump(mode="json")):
        listener.say_more(f"{'':<10}{key}={'null' if value is None else value}  ({origins[key]})")
