"""A subnet as a flat mapping of named choices, which Optuna samples, stores and shows."""

from __future__ import annotations

from collections.abc import Mapping

from noah.space.search_space import SearchSpace
from noah.space.subnet import MODULES, Subnet


def gene_choices(space: SearchSpace) -> dict[str, tuple[int, ...]]:
    """Name of each gene -> the values that it may take.

    `lora.depth` is the number of blocks that carry LoRA, `lora.03` its width in the third block. Where a module fills
    blocks from the first, the widths of blocks that its depth does not reach lie dormant. Where it may lie in any
    blocks, a width may be 0 instead, and the depth is what these widths make it.
    """
    choices = {}
    for name in MODULES:
        module = space.modules[name]
        if not module.widths:
            continue
        if space.placement == "first":
            choices[f"{name}.depth"] = module.depths
            choices |= {_gene(name, block): module.widths for block in range(max(module.depths))}
        else:
            choices |= {_gene(name, block): (0, *module.widths) for block in range(space.blocks)}
    return choices


def to_genes(subnet: Subnet, space: SearchSpace) -> dict[str, int]:
    """The genes of a subnet of the space; dormant ones take the smallest width."""
    genes = {}
    for gene, choices in gene_choices(space).items():
        name, _, place = gene.partition(".")
        widths = subnet.widths(name)
        genes[gene] = sum(map(bool, widths)) if place == "depth" else widths[int(place) - 1] or min(choices)
    return genes


def from_genes(genes: Mapping[str, int], space: SearchSpace) -> Subnet:
    """The subnet of the space that these genes mean.

    Where they give a module a number of blocks that the space does not have, the nearest one holds (of two the
    smaller): the last blocks lose the module, or the first that lack it get its smallest width.
    """
    widths = {}
    for name in MODULES:
        module = space.modules[name]
        row = [0] * space.blocks
        if module.widths and space.placement == "first":
            depth = genes[f"{name}.depth"]
            row[:depth] = [genes[_gene(name, block)] for block in range(depth)]
        elif module.widths:
            row = [genes[_gene(name, block)] for block in range(space.blocks)]
            carrying = [block for block in range(space.blocks) if row[block]]
            free = [block for block in range(space.blocks) if not row[block]]
            depth = min(module.depths, key=lambda allowed: (abs(allowed - len(carrying)), allowed))
            for block in carrying[depth:]:
                row[block] = 0
            for block in free[: max(depth - len(carrying), 0)]:
                row[block] = min(module.widths)
        widths[name] = row
    return Subnet(**widths)


def _gene(name: str, block: int) -> str:
    return f"{name}.{block + 1:02d}"
