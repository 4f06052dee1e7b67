"""Cells: each once, in an order that serves a sweep that is stopped early."""

from __future__ import annotations

import pytest

from noah.benchmark.cells import Cell, parse_methods, parse_seeds, plan_cells
from noah.benchmark.suites import POCKET, VTAB
from noah.errors import UsageError
from noah.runs.published_subnets import published_subnet


def test_one_seed_after_the_other() -> None:
    cells = plan_cells(["a", "b"], ["noah", "linear"], [0, 1])
    assert [str(cell) for cell in cells[:5]] == [
        "a noah seed 0",
        "a linear seed 0",
        "b noah seed 0",
        "b linear seed 0",
        "a noah seed 1",
    ]
    assert len(set(cells)) == len(cells) == 8


def test_seeds() -> None:
    assert parse_seeds("0, 1,17") == (0, 1, 17)
    for text, problem in {
        "": "'' is not a seed",
        "1,": "'' is not a seed",
        "-1": "'-1' is not a seed",
        "4294967296": "is not a seed",
        "1,2,1": "1 is given twice",
    }.items():
        with pytest.raises(UsageError, match=problem):
            parse_seeds(text)


def test_methods_are_spelled_in_one_way() -> None:
    text = (
        "noah, Published,LoRA:08,adapter:4 + lora:8,prompt:50,LINEAR,bias:1,lora_all:2,"
        "bias+lora_fc2:2+lora_fc1:2 + lora_proj:2+lora:2,lora_fc1:2+lora_proj:3,scale_shift+adapter_plus:8"
    )
    methods = (
        *("noah", "published", "lora:8", "lora:8+adapter:4", "prompt:50", "linear", "bias", "lora_all:2"),
        *("lora_all:2+bias", "lora_proj:3+lora_fc1:2", "scale_shift+adapter_plus:8"),
    )
    assert parse_methods(text, published=True) == methods
    assert parse_methods(",".join(methods), published=True) == methods
    assert len({Cell("digits", method, 0).file_name for method in methods}) == len(methods)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("noah,lora", "'lora' is not a method"),
        ("loar:8", "'loar:8' is not a method"),
        ("noah,", "'' is not a method"),
        ("", "'' is not a method"),
        ("published:cifar", "'published:cifar' is not a method"),
        ("mine.json", "'mine.json' is not a method"),
        ("noah,noah", "noah is given twice"),
        ("lora:8,LoRA:08", "lora:8 is given twice"),
        ("published", "nothing was published for the tasks of this suite"),
    ],
)
def test_no_methods(text: str, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        parse_methods(text, published=False)


def test_what_a_method_trains() -> None:
    assert Cell("cifar", "noah", 0).subnet is None
    assert Cell("cifar", "lora:8", 0).subnet == "lora:8"
    assert Cell("cifar", "published", 0).subnet == "published:cifar"
    for task in VTAB.tasks:
        spelling = Cell(task.name, "published", 0).subnet
        assert spelling and published_subnet(spelling.removeprefix("published:")).depth == 12


def test_names_of_files_are_plain_and_differ() -> None:
    cells = plan_cells(
        [task.name for task in POCKET.tasks], ["noah", "lora:8", "lora:8+adapter:4", "prompt:10", "linear"], [0, 1, 2]
    )
    names = {cell.file_name for cell in cells}
    assert len(names) == len(cells)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.") for name in names)
    assert Cell("shapes_count-4shot", "lora_fc1:7", 1).file_name == "shapes_count-4shot-lora-fc1-7-seed1"
    assert Cell("rendered_digits", "noah", 0).file_name == "rendered_digits-noah-seed0"
