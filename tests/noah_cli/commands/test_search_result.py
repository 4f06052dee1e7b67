from __future__ import annotations

from typing import Any

import pytest

from noah.nas.certainty import certainty
from noah.space.subnet import Subnet
from noah_cli.commands.search_result import print_front, print_winner
from tests.noah.console.test_listener import listener

RESULT: dict[str, Any] = {
    "subnet": Subnet([1], [0], [0]).to_json(),
    "index": 7,
    "evaluated": 1200,
    "planned": 1200,
    "stopped": None,
    "origin": "mutation",
    "parameters": 12_345,
    "budget": {},
    "costs": {},
    "accuracy": 0.875,
    "standard_error": 0.012,
    "total": 1000,
    "as_good": 3,
    "given_up": 0,
    "images_shown": 420_000,
    "certainty": None,
    "rerank": None,
}


EMPTY = Subnet.uniform(2)


def finalist(index: int, accuracy: float, subnet: Subnet = EMPTY, cross_entropy: float = 0.3) -> dict[str, Any]:
    """A finalist after two epochs."""
    figures = {"index": index, "accuracy": accuracy, "cross_entropy": cross_entropy}
    return {**figures, "subnet": subnet.to_json(), "losses": [1.0, 0.5]}


def told(**changes: Any) -> str:
    made, printed = listener(80)
    print_winner(made, {**RESULT, **changes})
    assert max(map(len, printed.getvalue().splitlines())) <= 80
    return " ".join(printed.getvalue().split())


@pytest.mark.parametrize(
    ("budget", "given_up"), [({}, 0), ({"parameters": 640_000}, 0), ({"parameters": 640_000}, 900)]
)
def test_the_winner(budget: dict[str, int], given_up: int) -> None:
    words = told(budget=budget, costs={"parameters": 12_345}, given_up=given_up)
    allowed = " of 640,000 allowed" if budget else ""
    assert f"winner subnet 7 (mutation) of 1,200 evaluated, 12,345 parameters{allowed}, head not counted" in words
    known = "at least " if given_up else ""
    assert f"accuracy 87.5% ± 1.2% on 1,000 validation images; {known}3 others lie within that error" in words
    raced = "racing 900 of 1,200 subnets were given up early; 35% of the images of a full evaluation were looked at"
    assert (raced in words) == bool(given_up)
    assert "The winner was chosen on these images, so expect less elsewhere" in words
    assert "stopped" not in words


def test_where_no_other_is_as_good_it_says_so() -> None:
    assert "images; 0 others lie within that error" in told(as_good=0, given_up=900)


def test_other_bounds_are_told_with_what_the_winner_costs() -> None:
    words = told(budget={"macs": 5_470_000_000, "latency": 0.012}, costs={"macs": 5_000_000_000, "latency": 0.0115})
    assert "cost 5 G multiply-accumulates an image; allowed: 5.47 G multiply-accumulates an image" in words
    assert "cost 11.5 ms an image; allowed: 12 ms an image" in words


def test_a_search_that_was_stopped_says_so() -> None:
    assert "stopped by the time limit after 1,200 of 2,000 subnets" in told(stopped="time limit", planned=2000)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"space_size": 1200, "inside_budget": 1200}, "all 1,200 subnets of the space were evaluated"),
        (
            {"space_size": 5000, "inside_budget": 1200},
            "all 1,200 subnets of the space inside the budget were evaluated",
        ),
        (
            {"space_size": 5000, "inside_budget": 1180, "inside_budget_standard_error": 40.0},
            "all 1,200 subnets of the space inside the budget were evaluated, as far as random draws can tell: none "
            "found another",
        ),
        (
            {"space_size": 5000, "inside_budget": 1201},
            "all 1,200 subnets of the space inside the budget were evaluated, as far as random draws can tell: none "
            "found another",
        ),
    ],
)
def test_a_space_that_was_seen_whole_is_told(changes: dict[str, Any], sentence: str) -> None:
    words = told(exhausted=True, **{"inside_budget_standard_error": 0.0, **changes})
    assert f"exhausted {sentence} winner" in words
    assert "exhausted" not in told(**changes)


def test_a_space_of_one_is_told_as_one() -> None:
    words = told(exhausted=True, evaluated=1, planned=1, space_size=1, inside_budget=1, inside_budget_standard_error=0)
    assert "exhausted the only subnet of the space was evaluated winner" in words


def test_how_sure_the_choice_is() -> None:
    sure = {**certainty([[0], [0, 1, 2, 3, 4, 5]], 20, 0).to_json(), "indices": [7, 3]}
    assert "certainty The winner wins in" in told(certainty=sure)
    even, searched = Subnet.uniform(2, lora=6, bias=1), Subnet([0, 0], [1, 0], [0, 0])
    finalists = [finalist(7, 0.9, even, cross_entropy=0.25), finalist(3, 1.0, searched, cross_entropy=0.3)]
    words = told(certainty=sure, rerank={"finalists": finalists, "certainty": sure, "by": "cross_entropy"})
    assert (
        "finalists trained for 2 epochs each; the best by cross-entropy first 7 90.0% 0.250 nats lora:6+bias" in words
    )
    assert "3 100.0% 0.300 nats lora, block by block" in words
    older = told(certainty=sure, rerank={"finalists": finalists, "certainty": sure})
    assert "finalists trained for 2 epochs each; the best first 7 90.0%" in older  # by what was not stored
    assert "on 1,000 validation images with the supernet's weights; 3 others" in words
    assert words.count("certainty") == 1  # of the finalists, who were chosen among; not of the search before


def test_the_front_is_numbered_as_retrain_takes_it() -> None:
    made, printed = listener(80)
    print_front(
        made, [{"accuracy": 0.9, "cost": 3000.0}, {"accuracy": 0.8, "cost": 2000.0}], "accuracy,params", " --run a/b"
    )
    lines = printed.getvalue().splitlines()
    assert lines[0].startswith("front     2 subnets that no other beats in both")
    assert "`noah retrain --subnet pareto:2 --run a/b` trains the second" in " ".join(printed.getvalue().split())
    assert lines[-2:] == ["           1  90.0%  3,000 parameters", "           2  80.0%  2,000 parameters"]


def test_a_front_of_one_has_no_second() -> None:
    made, printed = listener(80)
    print_front(made, [{"accuracy": 0.9, "cost": 3000.0}], "accuracy,params")
    assert printed.getvalue().splitlines() == [
        "front     1 subnet, the winner: it beats all others in both objectives",
        "           1  90.0%  3,000 parameters",
    ]


@pytest.mark.parametrize(
    ("single", "sentence"),
    [
        ({"index": 0, "kind": "lora"}, "gain none: lora alone won the final, and no mixture of modules was better"),
        (
            {"index": 0, "kind": "lora", "won": True, "others": 0},
            "gain not known: only single modules were in the final, which lora alone won",
        ),
        ({"index": 3, "kind": "linear"}, "gain none: no module at all won the final, and no mixture"),
        (
            {"index": 0, "kind": "lora", "lead": 0.025, "lead_error": 0.012},
            "gain +2.5 ± 1.2 points over subnet 0, lora alone, the best single module The winner",
        ),
        (
            {"index": 0, "kind": "lora", "lead": 0.005, "lead_error": 0.012},
            "gain +0.5 ± 1.2 points over subnet 0, lora alone, the best single module: no more than chance may give",
        ),
        (
            {"index": 0, "kind": "lora", "won": True, "lead": -0.01, "lead_error": 0.012},
            "gain none: the best mixture has -1.0 ± 1.2 points over lora alone, which is cheaper and therefore the",
        ),
    ],
)
def test_what_was_gained_over_the_best_single_module(single: dict[str, Any], sentence: str) -> None:
    finalists = [finalist(7, 0.9), finalist(0, 0.88), {**finalist(2, 0.8), "losses": [1.0]}]
    sure = {**certainty([[1, 2], [1, 3], [4]], 10, 0).to_json(), "indices": [7, 0, 2]}
    words = told(rerank={"finalists": finalists, "certainty": sure, "single": single, "by": "accuracy"})
    assert "trained for 2 epochs each; the best by accuracy first; 1 was left out before 7 90.0%" in words
    assert "0 88.0% 0.300 nats linear certainty" in words
    assert sentence in words


def test_what_random_subnets_give_is_told_beside_the_winner() -> None:
    typical = {"subnets": 8, "accuracy": 0.612, "standard_error": 0.009}
    words = told(accuracy=0.66, typical=typical)
    assert "8 random subnets of the budget have 61.2% ± 0.9% on average, the winner 66.0%, all with the" in words
