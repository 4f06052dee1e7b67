"""Genes mean subnets of the space, and every subnet has genes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.nas.samplers import distributions, from_genes, gene_choices, to_genes
from noah.space.module_space import ModuleSpace
from noah.space.operators import sample
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet
from tests.noah.strategies import spaces


@given(spaces(), st.integers(0, 2**31))
def test_a_subnet_comes_back_from_its_genes(space: SearchSpace, seed: int) -> None:
    subnet = sample(space, np.random.default_rng(seed))
    genes, choices = to_genes(subnet, space), gene_choices(space)
    assert genes.keys() == choices.keys()
    assert all(genes[name] in values for name, values in choices.items())
    assert from_genes(genes, space) == subnet


@given(spaces(), st.data())
def test_any_genes_mean_a_subnet_of_the_space(space: SearchSpace, data: st.DataObject) -> None:
    choices = gene_choices(space)
    genes = {name: data.draw(st.sampled_from(values), label=name) for name, values in choices.items()}
    subnet = from_genes(genes, space)
    assert space.contains(subnet)
    carried = sum(bool(width) for name in space.modules for width in subnet.widths(name))
    if space.placement != "any":
        assert carried == sum(value for name, value in genes.items() if name.endswith("depth"))
    # Genes that are awake mean themselves.
    again = to_genes(subnet, space)
    for name, value in genes.items():
        module, _, place = name.partition(".")
        depth = sum(map(bool, subnet.widths(module)))
        if depth == sum(bool(genes.get(f"{module}.{block + 1:02d}")) for block in range(space.blocks)):
            assert again[name] == value
        if space.placement != "any" and (place == "depth" or subnet.widths(module)[int(place) - 1]):
            assert again[name] == value


def one_module(*depths: int) -> SearchSpace:
    absent = ModuleSpace((), (0,))
    return SearchSpace(5, 8, {"prompt": absent, "lora": ModuleSpace((2, 7), depths), "adapter": absent}, "any")


@pytest.mark.parametrize(
    ("depths", "widths", "expected"),
    [
        ((1, 4), [0, 7, 0, 2, 0], [0, 7, 0, 0, 0]),  # 2 is nearer to 1: the last block loses it
        ((2, 4), [0, 7, 7, 2, 0], [0, 7, 7, 0, 0]),  # of two as near the smaller
        ((1, 4), [0, 7, 7, 2, 0], [2, 7, 7, 2, 0]),  # 3 is nearer to 4: the first free block gets the smallest width
        ((3,), [0, 0, 0, 0, 0], [2, 2, 2, 0, 0]),
        ((1,), [7, 7, 7, 7, 2], [7, 0, 0, 0, 0]),
        ((2,), [0, 0, 7, 0, 2], [0, 0, 7, 0, 2]),
    ],
)
def test_a_number_of_blocks_that_the_space_lacks_is_mended(
    depths: tuple[int, ...], widths: list[int], expected: list[int]
) -> None:
    genes = {f"lora.{block + 1:02d}": width for block, width in enumerate(widths)}
    assert from_genes(genes, one_module(*depths)) == Subnet([0] * 5, expected, [0] * 5)


def test_names_and_choices() -> None:
    space = one_module(1, 2)
    assert gene_choices(space) == {f"lora.0{block}": (0, 2, 7) for block in range(1, 6)}
    first = SearchSpace(space.blocks, space.embed_dim, space.modules, "first")
    assert gene_choices(first) == {"lora.depth": (1, 2), "lora.01": (2, 7), "lora.02": (2, 7)}
    assert to_genes(Subnet([0] * 5, [7, 0, 0, 0, 0], [0] * 5), first) == {"lora.depth": 1, "lora.01": 7, "lora.02": 2}
    assert {name: each.choices for name, each in distributions(first).items()} == gene_choices(first)  # type: ignore[attr-defined]  # all are categorical
