"""How many subnets a space has, in words."""

from __future__ import annotations

import re

from noah.space.budget import UNBOUNDED, Bound, Budget, parameter_budget
from noah.space.search_space import PRESETS, make_space
from noah.space.size_text import describe_space


def test_the_space_is_told_with_what_is_inside_the_budget() -> None:
    space = make_space(4, 16, {"prompt": (1, 5), "lora": (1, 2)}, (2, 4))
    assert describe_space(space, UNBOUNDED) == "400 subnets"
    parameters = parameter_budget(800, 16)
    inside = space.size(parameters)
    assert describe_space(space, parameters) == f"400 subnets, {inside} inside the budget of 800 parameters"
    every_kind = describe_space(make_space(24, 1024, PRESETS["full"], (0, 12, 24)), UNBOUNDED)
    assert re.fullmatch(r"\d\.\d x 10\^\d+ subnets", every_kind)
    bound = Bound("macs", 2_000_000, lambda subnet: 1e6 * max(subnet.prompt))
    words = describe_space(space, Budget((*parameters.bounds, bound)))
    told = re.fullmatch(
        r"400 subnets, about (\d+) \(standard error (\d+)\) inside the budget of 800 parameters and 2 M "
        "multiply-accumulates an image",
        words,
    )
    assert told is not None
    assert 0 < int(told[1]) < inside
    assert int(told[2]) > 0
