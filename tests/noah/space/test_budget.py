"""The value that bounds a subnet."""

from __future__ import annotations

import pytest

from noah.space.budget import UNBOUNDED, Bound, Budget, ParameterCost, parameter_budget
from noah.space.subnet import Subnet

SUBNET = Subnet([2, 0], [1, 1], [3, 0])


def work(subnet: Subnet) -> float:
    return float(sum(subnet.prompt))


def test_nothing_is_bounded() -> None:
    assert UNBOUNDED.admits(SUBNET)
    assert UNBOUNDED == Budget() == parameter_budget(None, 8)
    assert (UNBOUNDED.parameters, UNBOUNDED.others, UNBOUNDED.to_json(), UNBOUNDED.costs(SUBNET)) == (None, (), {}, {})
    assert UNBOUNDED.describe() == ""


def test_every_bound_holds() -> None:
    parameters = SUBNET.parameter_count(8)
    for limit, macs, admitted in ((parameters, 2, True), (parameters - 1, 2, False), (parameters, 1, False)):
        budget = Budget((Bound("parameters", limit, ParameterCost(8)), Bound("macs", macs, work)))
        assert budget.admits(SUBNET) == admitted
        assert budget.parameters == limit
        assert [bound.name for bound in budget.others] == ["macs"]
        assert budget.of_parameters() == parameter_budget(limit, 8)
        assert budget.costs(SUBNET) == {"parameters": parameters, "macs": 2}
        assert budget.to_json() == {"parameters": limit, "macs": macs}


def test_equality_and_hash_are_those_of_the_bounds() -> None:
    assert parameter_budget(10, 8) == parameter_budget(10, 8)
    assert hash(parameter_budget(10, 8)) == hash(parameter_budget(10, 8))
    assert parameter_budget(10, 8) != parameter_budget(11, 8)
    assert parameter_budget(10, 8) != parameter_budget(10, 16)
    assert Bound("macs", 5, work, "one reason") == Bound("macs", 5, work, "another")
    assert Bound("macs", 5, work) != Bound("macs", 5, lambda subnet: work(subnet))


def test_words() -> None:
    bounds = (
        Bound("parameters", 640_000, ParameterCost(8)),
        Bound("macs", 5_472_000_000, work),
        Bound("latency", 0.0123, work),
    )
    assert [bound.spell() for bound in bounds] == ["640,000", "5.47 G", "12.3 ms"]
    assert Budget(bounds[:1]).describe() == "640,000 parameters"
    assert Budget(bounds).describe() == (
        "640,000 parameters, 5.47 G multiply-accumulates an image and 12.3 ms an image"
    )


def test_one_quantity_is_bounded_once() -> None:
    with pytest.raises(ValueError, match="two bounds"):
        Budget((Bound("macs", 1, work), Bound("macs", 2, work)))
