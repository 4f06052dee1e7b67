"""Constructor arguments of a backbone as users write them: `init_values=1e-5`, `reg_tokens=4`, `class_token=false`."""

from __future__ import annotations

import keyword
from collections.abc import Iterable

Value = bool | int | float | str
"""What an argument may be."""

SET_ELSEWHERE = {
    "img_size": "the image size is --image-size",
    "num_classes": "noah gives the backbone a head of its own",
    "in_chans": "noah reads images of three channels",
    "pretrained": "a backbone always has its weights",
}
"""Arguments that noah gives the backbone itself, and what to do instead."""
NOT_OF_THE_NETWORK = frozenset(
    {
        *("model_name", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained_model_args", "pretrained_strict"),
        *("checkpoint_path", "cache_dir", "scriptable", "exportable", "no_jit", "pruned", "device", "dtype"),
        *("features_only", "feature_cls", "out_indices"),
    }
)
"""Arguments of timm's factory that choose files or wrap the network, and so do not describe it."""
_WORDS = {"true": True, "false": False}


def read_keyword(text: str) -> tuple[str, Value]:
    """Read one argument.

    Args:
        text: A Python name, an equals sign, and true, false, a number, or any other text as it is.

    Raises:
        ValueError: If it is anything else, or names an argument that is not the user's to give.
    """
    name, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not value or not name.isidentifier() or keyword.iskeyword(name):
        raise ValueError(f"{text!r} is not NAME=VALUE, as in init_values=1e-5")
    why_not = SET_ELSEWHERE.get(name) or ("it does not describe the network" if name in NOT_OF_THE_NETWORK else "")
    if why_not:
        raise ValueError(f"{name} cannot be given here: {why_not}")
    if value.lower() in _WORDS:
        return name, _WORDS[value.lower()]
    for number in (int, float):
        try:
            return name, number(value)
        except ValueError:
            continue
    return name, value


def read_keywords(texts: Iterable[str]) -> dict[str, Value]:
    """Read several arguments.

    Raises:
        ValueError: If one of them is none, or two have the same name.
    """
    values: dict[str, Value] = {}
    for text in texts:
        name, value = read_keyword(text)
        if name in values:
            raise ValueError(f"{name} is given twice")
        values[name] = value
    return values
