"""The published subnets: their names, and their sizes as the paper gives them."""

from __future__ import annotations

import json
import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.data.sources.few_shot_sets import FEW_SHOT_SETS, SHOTS
from noah.data.sources.vtab.vtab_tasks import VTAB_TASKS
from noah.errors import UsageError
from noah.runs.published_subnets import PUBLISHED_FILE, published_names, published_subnet
from noah.space.subnet import MODULES, Subnet

THEIRS: dict[str, dict[str, dict[str, Any]]] = json.loads(files("noah.runs").joinpath(PUBLISHED_FILE).read_text())
TASKS = [task.name for task in VTAB_TASKS]
FEW_SHOT = [f"{known.name}:{shots}" for known in FEW_SHOT_SETS for shots in SHOTS if known.name != "imagenet"]

FEW_SHOT_SPELLINGS = {
    spelling: f"{known.name}:{shots}"
    for known in FEW_SHOT_SETS
    for shots in SHOTS
    for name in known.names
    for spelling in (f"{name}:{shots}", f"{name}_shot{shots}-seed0")
    if f"{known.name}:{shots}" in published_names()
}
SPELLINGS = FEW_SHOT_SPELLINGS | {name: task.name for task in VTAB_TASKS for name in task.names}


def parameters(widths: dict[str, Any], dim: int = 768) -> int:
    """Prompt tokens, A and B of LoRA, and both layers of an adapter with their biases."""
    prompts = sum(p * dim for p in widths["prompt"])
    loras = sum(r * dim + 3 * dim * r for r in widths["lora"])
    adapters = sum((dim * a + a) + (a * dim + dim) for a in widths["adapter"] if a > 0)
    return prompts + loras + adapters


class TestNames:
    def test_there_are_45(self) -> None:
        assert published_names() == (*TASKS, *FEW_SHOT, "imagenet:16")
        assert len(published_names()) == len(set(published_names())) == 19 + 26

    def test_nothing_in_the_file_is_left_out(self) -> None:
        assert sum(map(len, THEIRS.values())) == 45
        for group in THEIRS.values():
            for name, widths in group.items():
                assert published_subnet(name).to_json() == widths

    @given(st.sampled_from(sorted(SPELLINGS)), st.randoms(use_true_random=False), st.sampled_from(["", " "]))
    def test_every_spelling_is_understood(self, spelling: str, random: Any, blank: str) -> None:
        typed = "".join(random.choice((letter.lower(), letter.upper())) for letter in spelling)
        if "_shot" not in spelling:
            typed = typed.replace("_", random.choice("_-"))
        assert published_subnet(blank + typed + blank) is published_subnet(SPELLINGS[spelling])

    def test_a_name_of_both_means_vtab_without_shots(self) -> None:
        for name in ("oxford_pets", "oxford_flowers102", "pets"):
            assert published_subnet(name).to_json() in THEIRS["vtab"].values()
            assert published_subnet(f"{name}:16").to_json() in THEIRS["few_shot"].values()

    def test_the_file_is_in_the_wheel(self) -> None:
        project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
        assert any(
            fnmatch(f"runs/{PUBLISHED_FILE}", glob) for glob in project["tool"]["setuptools"]["package-data"]["noah"]
        )


class TestSizes:
    @pytest.mark.parametrize("name", TASKS)
    def test_of_each_vtab_subnet(self, name: str) -> None:
        subnet = published_subnet(name)
        widths = {module: subnet.widths(module) for module in MODULES}
        dead = (100 + widths["prompt"][0]) * 768  # every one has prompts in its first block
        assert widths["prompt"][0] > 0
        assert subnet.parameter_count(768) == parameters(widths)
        assert subnet.reference_count(768, largest_prompt=100) == parameters(widths) + dead

    def test_of_vtab_in_the_mean_as_in_the_paper(self) -> None:
        """0.360 M trainable parameters, and 0.443 M as the published code counts them."""
        subnets = [published_subnet(name) for name in TASKS]
        total = sum(subnet.parameter_count(768) for subnet in subnets)
        reported = sum(subnet.reference_count(768, largest_prompt=100) for subnet in subnets)
        assert round(total / 19 / 1e6, 3) == 0.360
        assert round(reported / 19 / 1e6, 3) == 0.443
        assert (total, reported) == (6_842_551, 8_407_735)  # to the last width of the file

    @pytest.mark.parametrize("name", [*FEW_SHOT, "imagenet:16"])
    def test_of_each_few_shot_subnet(self, name: str) -> None:
        subnet = published_subnet(name)
        assert subnet.depth == 12
        assert subnet.parameter_count(768) == parameters(subnet.to_json()) > 0

    def test_of_all_few_shot_subnets_together(self) -> None:
        assert sum(published_subnet(name).parameter_count(768) for name in published_names()[19:]) == 9_201_139

    def test_all_have_the_depth_of_the_backbone(self) -> None:
        assert {published_subnet(name).depth for name in published_names()} == {12}


class TestRefusals:
    @pytest.mark.parametrize(
        ("typed", "hint"),
        [
            ("cifar1000", "Did you mean cifar?"),
            ("clevr-cuont", "Did you mean clevr_count?"),
            ("foood101:4", "Did you mean food101:4?"),
            ("foood101", "Did you mean food101:16?"),
            ("imagenett:3", "Did you mean imagenet:16?"),
            ("oxford_petz", "Did you mean oxford_iiit_pet?"),
            ("oxford_petz:2", "Did you mean oxford_pets:2?"),
            ("food101", "food101:1, food101:2, food101:4, food101:8, food101:16."),
            ("food101:", "food101:1, food101:2, food101:4, food101:8, food101:16."),
            ("food101:3", "food101:1, food101:2, food101:4, food101:8, food101:16."),
            ("food-101_shot3-seed0", "food101:1, food101:2, food101:4, food101:8, food101:16."),
            ("imagenet:4", "For imagenet these are published: imagenet:16."),
            ("cifar:16", "Write it as cifar."),
            ("cifar100:", "Write it as cifar."),
            ("qqq", "Published are the 19 tasks"),
            ("", "Published are the 19 tasks"),
        ],
    )
    def test_unknown_names_and_shots(self, typed: str, hint: str) -> None:
        with pytest.raises(UsageError) as caught:
            published_subnet(typed)
        assert repr(typed) in caught.value.problem
        assert hint in caught.value.hint

    @pytest.mark.parametrize(("typed", "missing"), [("food101", True), ("food101:3", False)])
    def test_missing_shots_and_unknown_shots_are_told_apart(self, typed: str, missing: bool) -> None:
        with pytest.raises(UsageError) as caught:
            published_subnet(typed)
        assert ("shots are missing" in caught.value.problem) == missing

    @given(st.text())
    def test_any_text_is_a_subnet_or_a_usage_error(self, text: str) -> None:
        try:
            assert isinstance(published_subnet(text), Subnet)
        except UsageError as error:
            assert error.hint
            assert len(str(error).splitlines()) == 2
