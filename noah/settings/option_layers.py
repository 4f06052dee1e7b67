"""Turns the options of commands, and keywords of the same names, into layers of settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from noah.errors import UsageError
from noah.settings.layers import Layer, nested
from noah.settings.options import setting_of
from noah.settings.settings import ColumnSettings, Tracker
from noah.space.budget_text import Multiple, read_latency, read_macs, read_parameters


def option_layers(**options: Any) -> list[Layer]:
    """Make one layer for each option that was given, in their order.

    Args:
        options: Values by the name of the option as a keyword, such as image_size for --image-size: as typed, or as
            the setting has them. None stands for an option that was not given, and so does an empty list of one that
            can be repeated.

    Raises:
        UsageError: If an option stands for no setting, or its text cannot be read.
    """
    return [
        Layer(source=f"--{name.replace('_', '-')}", values=_values(name, value))
        for name, value in options.items()
        if value is not None and not (name in _REPEATED and value in ([], ()))
    ]


def _values(name: str, value: Any) -> dict[str, Any]:
    """The settings that one option gives, nested."""
    if name in _REPEATED and not isinstance(value, Mapping):
        value = _REPEATED[name]([value] if isinstance(value, str) else list(value))
    elif name in ("data", "data_root"):
        value = str(Path(value))
    elif name == "bit_depth" and isinstance(value, str) and value.isdecimal():
        value = int(value)
    elif isinstance(value, os.PathLike):
        value = os.fspath(value)
    return {"budget": value} if name == "budget" else nested(setting_of(name), value)


def column_names(texts: Sequence[str]) -> dict[str, str]:
    """Read all --columns options: the fields of `ColumnSettings` with the names of columns.

    Raises:
        UsageError: If a part names no column, or one is named twice.
    """
    named: dict[str, str] = {}
    for text in texts:
        for part in text.split(","):
            use, equals, name = (piece.strip() for piece in part.partition("="))
            if not equals or use not in ColumnSettings.model_fields or use in named:
                wrong = "names one twice" if use in named else f"does not say what a column is for: {part.strip()}"
                raise UsageError(
                    f"--columns {text} {wrong}.",
                    "Write --columns path=file,label=class, and split=NAME or group=NAME if there are such columns.",
                )
            named[use] = name
    return named


def _trackers(names: Sequence[str]) -> list[str]:
    """Read all --track options.

    Raises:
        UsageError: If one of them is not a tracker, or `none` is given beside another.
    """
    for name in names:
        if name not in (*get_args(Tracker), "none"):
            raise UsageError(f"--track {name}: there is no such tracker.", "Write tensorboard, wandb or none.")
    if "none" in names and len(set(names)) > 1:
        raise UsageError("--track none contradicts the other --track.", "Leave out one of them.")
    return [name for name in names if name != "none"]


def _bounds(texts: Sequence[str]) -> dict[str, int | str | None]:
    """Read all --budget options.

    Each bounds one quantity and keeps the recipe's bounds on the other two. `none` removes them all; bounds that are
    given beside it still hold.

    Raises:
        UsageError: If one of them is not a budget, or two bound the same quantity.
    """
    bounds: dict[str, int | str | None] = {}
    for text in texts:
        key, value = _parse_budget(text)
        if key in bounds:
            raise UsageError(
                f"--budget {text}: a bound on {_KEYS[key]} is given twice.", "Give each quantity one --budget."
            )
        bounds[key] = value
    return {key: bounds.get(key) for key in _KEYS if key != "none"} if "none" in bounds else bounds


_KEYS = {"parameters": "params", "macs": "macs", "latency": "latency", "none": "nothing"}
"""The settings of a budget, and what users type for them."""


def _parse_budget(text: str) -> tuple[str, int | str | None]:
    """Read the setting and the value in `params=0.64M`, `macs=1.1x` or `latency=12ms`; ("none", None) for `none`."""
    quantity, _, value = (part.strip() for part in text.partition("="))
    if text.strip().lower() == "none":
        return "none", None
    if quantity == "params" and isinstance(read_macs(value), Multiple):
        raise UsageError(
            f"--budget {text}: parameters cannot be bounded by a multiple of the backbone's.",
            "The plain backbone trains none of its own; write a number, as in --budget params=0.64M.",
        )
    if quantity == "params" and (parameters := read_parameters(value)) is not None:
        return "parameters", parameters
    if (quantity == "macs" and read_macs(value)) or (quantity == "latency" and read_latency(value)):
        return quantity, value
    raise UsageError(
        f"--budget {text} is not a budget.",
        "Write it as --budget params=0.64M, macs=1.1x, macs=4.5G, latency=12ms or latency=1.1x, or --budget none.",
    )


_REPEATED: Mapping[str, Callable[[Sequence[str]], Any]] = {
    "backbone_arg": list,
    "budget": _bounds,
    "columns": column_names,
    "track": _trackers,
}
"""Options that can be given several times, and how the texts of all of them are read."""
