"""The 19 tasks of VTAB-1k: names, numbers of classes, groups, and the other names they go by.

Sources: "A Large-scale Study of Representation Learning with the Visual Task Adaptation Benchmark" (Zhai et al., 2019,
arXiv 1910.04867) for VTAB-1k and its three groups; "Neural Prompt Search" (Zhang, Zhou, Liu, 2022, arXiv 2206.04673)
for the folder names and the numbers of classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class VtabTask:
    """One task; `name` is also its folder's name, `aliases` are other names in the literature or its code."""

    name: str
    classes: int
    group: Literal["natural", "specialized", "structured"]
    aliases: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The name, followed by the aliases."""
        return (self.name, *self.aliases)


VTAB_TASKS: tuple[VtabTask, ...] = (
    VtabTask("caltech101", 102, "natural"),
    VtabTask("cifar", 100, "natural", ("cifar100", "cifar_100")),
    VtabTask("dtd", 47, "natural"),
    VtabTask("oxford_flowers102", 102, "natural", ("flowers102",)),
    VtabTask("oxford_iiit_pet", 37, "natural", ("oxford_pet", "oxford_pets", "pet", "pets")),
    VtabTask("svhn", 10, "natural"),
    VtabTask("sun397", 397, "natural"),
    VtabTask("patch_camelyon", 2, "specialized", ("camelyon",)),
    VtabTask("eurosat", 10, "specialized"),
    VtabTask("resisc45", 45, "specialized"),
    VtabTask("diabetic_retinopathy", 5, "specialized", ("retinopathy",)),
    VtabTask("clevr_count", 8, "structured"),
    VtabTask("clevr_dist", 6, "structured", ("clevr_distance",)),
    VtabTask("dmlab", 6, "structured"),
    VtabTask("kitti", 4, "structured"),
    VtabTask("dsprites_loc", 16, "structured", ("dsprites_position",)),
    VtabTask("dsprites_ori", 16, "structured", ("dsprites_orientation",)),
    VtabTask("smallnorb_azi", 18, "structured", ("smallnorb_azimuth",)),
    VtabTask("smallnorb_ele", 9, "structured", ("smallnorb_elevation",)),
)
"""The tasks in the order in which results are listed: natural, specialized, structured."""

_BY_NAME = {name: task for task in VTAB_TASKS for name in task.names}


def find_vtab_task(name: str) -> VtabTask | None:
    """Find a task by name or alias; capitals and hyphens make no difference."""
    return _BY_NAME.get(name.lower().replace("-", "_"))
