"""What stages give back says what matters, and keeps what the files say."""

from __future__ import annotations

import math

import pytest

from noah.api.results import Evaluation, Retraining, Winner
from noah.evaluation.significance import wilson_interval
from noah.space.subnet import Subnet

RESULT = {
    "correct": 9,
    "total": 10,
    "accuracy": 0.9,
    "standard_error": 0.09486832980505137,
    "cross_entropy": 0.3,
    "calibration_error": 0.05,
    "class_accuracy": {"cat": 0.9, "dog": None},
}
SUBNET = Subnet(lora=[4, 0])


def test_an_evaluation_tells_its_accuracy_and_how_certain_it_is() -> None:
    found = Evaluation.from_json(RESULT)
    assert (found.accuracy, found.standard_error) == (RESULT["accuracy"], pytest.approx(RESULT["standard_error"]))
    assert found.interval == wilson_interval(9, 10)
    assert str(found) == "90.00% of 10 images right, 95% interval 59.6% to 98.2% (test)"
    assert repr(found) == f"<Evaluation: {found}>"
    assert (found.split, found.top5_accuracy) == ("test", None)
    other = Evaluation.from_json({**RESULT, "split": "sketches", "top5_accuracy": 1.0})
    assert (other.split, other.top5_accuracy) == ("sketches", 1.0)


def test_logits_that_are_not_finite_have_an_infinite_cross_entropy() -> None:
    assert Evaluation.from_json({**RESULT, "cross_entropy": None}).cross_entropy == math.inf


def test_a_winner_and_a_retraining_say_their_size() -> None:
    figures = {"accuracy": 0.5, "standard_error": 0.05, "evaluated": 12, "planned": 20, "stopped": "time limit"}
    result = {**figures, "index": 3, "subnet": SUBNET.to_json(), "parameters": 1234, "total": 100, "costs": {}}
    winner = Winner.from_json({**result, "budget": {}})
    assert repr(winner) == "<Winner: 1,234 parameters, 50.0% ± 5.0% of 100 validation images, of 12 subnets>"
    assert (winner.subnet, winner.stopped) == (SUBNET, "time limit")
    finalists = [
        {"index": index, "accuracy": right, "standard_error": 0.04, "total": 100}
        for index, right in ((7, 0.9), (3, 0.8))
    ]
    final = Winner.from_json({**result, "budget": {}, "rerank": {"finalists": finalists}})
    assert repr(final) == "<Winner: 1,234 parameters, 80.0% ± 4.0% of 100 validation images, of 12 subnets>"
    trained = Retraining.from_json(
        {"subnet": SUBNET.to_json(), "parameters": 1234, "head_parameters": 650, "images": 80, "losses": [2, 0.5]}
    )
    assert repr(trained) == ("<Retraining: 1,234 parameters and a head of 650 on 80 images, final loss 0.500>")
    assert trained.losses == (2, 0.5)
