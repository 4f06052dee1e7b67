"""Turns the options of commands into layers of settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from noah.errors import UsageError
from noah.settings.layers import Layer, nested
from noah.settings.settings import ColumnSettings, Tracker
from noah.space.budget_text import Multiple, read_latency, read_macs, read_parameters


def hardware_layers(device: str | None, precision: str | None, threads: int | None) -> list[Layer]:
    """Make the layers of --device, --precision and --threads."""
    return option_layers(
        device=("hardware.device", device),
        precision=("hardware.precision", precision),
        threads=("hardware.threads", threads),
    )


def track_layers(names: Sequence[str] | None) -> list[Layer]:
    """Make one layer of all --track options.

    Raises:
        UsageError: If one of them is not a tracker, or `none` is given beside another.
    """
    if not names:
        return []
    for name in names:
        if name not in (*get_args(Tracker), "none"):
            raise UsageError(f"--track {name}: there is no such tracker.", "Write tensorboard, wandb or none.")
    if "none" in names and len(set(names)) > 1:
        raise UsageError("--track none contradicts the other --track.", "Leave out one of them.")
    return [Layer(source="--track", values={"trackers": [name for name in names if name != "none"]})]


def start_layers(
    dataset: str | None,
    data: Path | None,
    data_root: Path | None,
    shots: int | None,
    list_seed: int | None,
    backbone: str | None,
    backbone_arch: str | None,
    backbone_arg: Sequence[str] | None,
    image_size: int | None,
    class_weights: str | None,
    seed: int | None,
) -> list[Layer]:
    """Make the layers of the options that describe the data, backbone and seed of a new run."""
    return option_layers(
        dataset=("data.dataset", dataset),
        data=("data.folder", str(data) if data else None),
        data_root=("data.root", str(data_root) if data_root else None),
        shots=("data.shots", shots),
        list_seed=("data.list_seed", list_seed),
        backbone=("backbone.name", backbone),
        backbone_arch=("backbone.architecture", backbone_arch),
        backbone_arg=("backbone.arguments", list(backbone_arg) if backbone_arg else None),
        image_size=("backbone.image_size", image_size),
        class_weights=("data.class_weights", class_weights),
        seed=("seed", seed),
    )


def own_data_layers(
    columns: Sequence[str] | None,
    classes: str | None,
    damaged: str | None = None,
    alpha: str | None = None,
    bit_depth: str | None = None,
    *,
    groups: str | None = None,
    near: bool = False,
    allow_copies: bool = False,
) -> list[Layer]:
    """Make the layers of the options that say how a person's own images are read, and what is looked for in them.

    Raises:
        UsageError: If a part of --columns names no column, or one is named twice.
    """
    named = column_names(columns or [])
    layers = option_layers(
        classes=("data.classes", classes),
        groups=("data.groups", groups),
        near=("data.near_duplicates", near or None),
        allow_copies=("data.allow_copies", allow_copies or None),
        damaged=("data.damaged", damaged),
        alpha=("data.alpha", alpha),
        bit_depth=("data.bit_depth", int(bit_depth) if bit_depth and bit_depth.isdecimal() else bit_depth),
    )
    return [*layers, Layer(source="--columns", values={"data": {"columns": named}})] if named else layers


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


def option_layers(**options: tuple[str, Any]) -> list[Layer]:
    """Make one layer for each option that was given.

    Args:
        options: For each option's name, the dotted key of its setting, and its value or None.
    """
    return [
        Layer(source=f"--{name.replace('_', '-')}", values=nested(key, value))
        for name, (key, value) in options.items()
        if value is not None
    ]


def budget_layers(texts: Sequence[str]) -> list[Layer]:
    """Make one layer of all --budget options.

    Each bounds one quantity and keeps the recipe's bounds on the other two. `none` removes them all; bounds that are
    given beside it still hold.

    Raises:
        UsageError: If one of them is not a budget, or two bound the same quantity.
    """
    values: dict[str, Any] = {}
    for text in texts:
        key, value = _parse_budget(text)
        if key in values:
            raise UsageError(
                f"--budget {text}: a bound on {_KEYS[key]} is given twice.", "Give each quantity one --budget."
            )
        values[key] = value
    if "none" in values:
        values = {key: values.get(key) for key in _KEYS if key != "none"}
    return [Layer(source="--budget", values={"budget": values})] if values else []


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
