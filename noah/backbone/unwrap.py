"""Finds the weights of the backbone in what a training left: under which key, behind which prefix, in whose words.

Nothing here knows the architecture: what belongs to it is decided when the weights are fitted (`noah.backbone.fit`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from noah.backbone.translations import TRANSLATIONS, State, Translation
from noah.files.plain_weights import check_state

KEYS = (
    *("teacher", "target_encoder", "state_dict_ema", "model_ema", "ema_state_dict", "ema"),
    *("model_state_dict", "model_state", "state_dict", "model", "module", "network", "net"),
    *("student", "backbone", "encoder"),
)
"""Keys under which trainings save weights, the better ones first: a running average of weights before the weights that
it averages."""
_OURS = "blocks.0.norm1.weight"
"""A weight that every vision transformer of timm has."""
_WRAPPERS = re.compile(r"(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
"""What torch puts into names where it compiles, shards or recomputes a part of a network."""
_CHUNKS = re.compile(r"(^|\.)blocks\.\d+\.(\d+)\.")
"""Blocks in chunks, as DINOv2's training saves them; the second number counts through all chunks."""
_BETTER = ("teacher", "target_encoder", "ema", "base_encoder", "encoder", "backbone", "model", "student")
"""Of several networks in one file, the one whose prefix has the first of these words."""
_OTHERS = ("decoder", "predictor", "text_model", "momentum_encoder", "queue")
"""Words in prefixes of networks that are no backbone."""
_HEADS = (
    *("head", "head_dist", "heads", "fc", "classifier", "cls_classifier", "distillation_classifier", "pooler"),
    *("projector", "projection_head", "predictor", "prediction_head", "dino_head", "ibot_head", "lm_head", "queue"),
    "decoder",
)
"""First words of weights that only the training of the backbone needed, or its own classifier."""
_MOST_LEVELS = 8
"""Mappings inside one another; a file may hold itself."""


@dataclass(frozen=True, slots=True)
class Unwrapped:
    """The weights of a file that may be those of the backbone.

    Args:
        state: By name, without a prefix, in timm's words.
        steps: What was done to get there, in the order in which it was done, each as a part of a sentence.
        left_out: First words of the names of other networks and heads in the file, with the number of their weights.
    """

    state: State
    steps: tuple[str, ...] = ()
    left_out: Mapping[str, int] | None = None

    @property
    def told(self) -> str:
        """All of it in one line; empty if the file held nothing but the weights, by timm's names."""
        parts = list(self.steps)
        if self.left_out:
            parts.append(f"left out {spell_counts(self.left_out)}")
        return "; ".join(parts)


def unwrap(content: Any) -> Unwrapped:
    """Find the weights in the content of a file.

    Raises:
        ValueError: If it holds no state dictionary, or several networks of which none is the better one.
    """
    content, steps = _inside(content)
    state = _without_wrappers(check_state(content), steps)
    translation, prefix = _find_network(state)
    inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
    left_out = _counted(name for name in state if not name.startswith(prefix))
    if prefix:
        steps.append(f"without the prefix {prefix!r}")
    if translation is not None:
        inside = translation(inside)
        if inside.pop("mask_token", None) is not None:  # timm would take it for a sign of another file
            left_out["mask_token"] = 1
        steps.append(f"translated from {translation.family}")
    heads = [name for name in inside if _first_word(name) in _HEADS]
    for word, count in _counted(heads).items():
        left_out[word] = left_out.get(word, 0) + count
    return Unwrapped({name: value for name, value in inside.items() if name not in set(heads)}, tuple(steps), left_out)


def spell_counts(counts: Mapping[str, int]) -> str:
    """Write first words of names with the number of weights, such as `head (2 weights), decoder (40 weights)`."""
    shown = [f"{word} ({count} weight{'s' if count > 1 else ''})" for word, count in list(counts.items())[:5]]
    return ", ".join([*shown, *(["and more"] if len(counts) > 5 else [])])


def _inside(content: Any) -> tuple[Any, list[str]]:
    """Follow the keys down to the state dictionary, and say which were followed and what stood beside them."""
    steps: list[str] = []
    for _ in range(_MOST_LEVELS):
        found = [key for key in KEYS if isinstance(content, dict) and _holds_weights(content.get(key))]
        if not found:
            break
        content = content[found[0]]
        beside = f" (not {' or '.join(map(repr, found[1:]))})" if found[1:] else ""
        steps.append(f"took {found[0]!r}{beside}")
    return content, steps


def _without_wrappers(state: State, steps: list[str]) -> State:
    """Take out of names what torch or a training put into the middle of them, and say so.

    Raises:
        ValueError: If two weights would have the same name.
    """
    result = state
    for pattern, replacement, step in (
        (_WRAPPERS, "", "without torch's wrappers"),
        (_CHUNKS, r"\1blocks.\2.", "blocks out of their chunks"),
    ):
        renamed = {pattern.sub(replacement, name): value for name, value in result.items()}
        if renamed.keys() != result.keys():
            if len(renamed) < len(result):
                raise ValueError("two of its weights have the same name without torch's wrappers")
            result = renamed
            steps.append(step)
    return result


def _holds_weights(value: Any, levels: int = 2) -> bool:
    """Whether this is a mapping with tensors in it or in a mapping in it."""
    if not isinstance(value, dict):
        return False
    return any(isinstance(one, Tensor) or (levels > 0 and _holds_weights(one, levels - 1)) for one in value.values())


def _find_network(state: State) -> tuple[Translation | None, str]:
    """Find in whose words the weights are named (None is timm's), and the prefix of the network to take.

    Raises:
        ValueError: If there are several networks of which none is the better one.
    """
    found: dict[str, Translation | None] = {}
    found |= dict.fromkeys(_prefixes(state, _OURS))
    if not found:
        for translation in TRANSLATIONS:
            for prefix in _prefixes(state, translation.anchor):
                inside = [name.removeprefix(prefix) for name in state if name.startswith(prefix)]
                if prefix not in found and translation.matches(inside):
                    found[prefix] = translation
    if not found:
        return None, ""
    prefix = _better(found)
    return found[prefix], prefix


def _prefixes(state: State, anchor: str) -> list[str]:
    """What stands before a name in the names of the weights, if it is nothing or ends with a dot."""
    before = (name.removesuffix(anchor) for name in state if name.endswith(anchor))
    return [prefix for prefix in before if not prefix or prefix.endswith(".")]


def _better(prefixes: Iterable[str]) -> str:
    """The prefix of the network to take.

    Raises:
        ValueError: If it could be one or another.
    """
    every = sorted(prefixes)
    usable = [prefix for prefix in every if not set(prefix.split(".")) & set(_OTHERS)] or every

    def rank(prefix: str) -> int:
        words = prefix.split(".")
        return min((place for place, word in enumerate(_BETTER) if word in words), default=len(_BETTER))

    best = min(map(rank, usable))
    chosen = [prefix for prefix in usable if rank(prefix) == best]
    if len(chosen) > 1:
        raise ValueError(
            f"it holds several networks ({', '.join(repr(prefix) for prefix in chosen[:5])}), and which one is meant "
            "is not clear; save that one alone"
        )
    return chosen[0]


def _first_word(name: str) -> str:
    """`decoder` for `decoder_blocks.0.norm1.weight` and `decoder.norm.weight`, `head` for `head.weight`."""
    word = name.split(".")[0]
    return "decoder" if word.startswith("decoder_") else word


def _counted(names: Iterable[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for name in names:
        word = _first_word(name)
        counts[word] = counts.get(word, 0) + 1
    return counts
