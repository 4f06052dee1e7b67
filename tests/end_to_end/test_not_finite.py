"""Trainings that go wrong, as a person meets them: what is told, what stays, and how it goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from noah.runs.folder import Run
from tests.commands import noah, noah_line

RUN = Path("runs") / "photos" / "first"
WILD = "1e30"


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_supernet(good_folder: Path, precision: str) -> None:
    setting = f"supernet.learning_rate={WILD}"
    outcome = noah("search", "--run", "first", "--set", setting, "--precision", precision)
    assert outcome.code == 1
    problem, hint = outcome.error_lines
    assert problem.startswith("Error: The training loss is ")
    assert " of 5 in epoch 1." in problem
    lower = "Start a new run with a lower learning rate, such as --set supernet.learning_rate=1e-4."
    in_fp32 = "Try --precision fp32 first: with --resume it starts over. "
    assert hint == (lower if precision == "fp32" else in_fp32 + lower)
    assert not (RUN / "supernet" / "checkpoint.safetensors").exists()

    again = noah("search", "--resume", "--precision", "fp32")
    assert (again.code, again.error_lines[1]) == (1, lower)
    assert noah("retrain").error_lines[0] == "Error: The search of photos/first has not finished."
    assert noah("search", "--run", "second", "--set", "supernet.learning_rate=1e-4").code == 0


def test_the_retraining_is_done_again_as_the_hint_says(good_folder: Path) -> None:
    assert noah("search", "--run", "first", "--set", f"retrain.learning_rate={WILD}").code == 0
    assert noah("retrain", "--inherit").error_lines[1].endswith(" --set retrain.inherit=false")
    outcome = noah("retrain")
    assert outcome.code == 1
    problem, hint = outcome.error_lines
    assert problem.startswith("Error: The training loss is ")
    told, command = hint.split(": ")
    assert told == "Train it in a new run with a lower learning rate"
    assert command == (
        f"noah retrain --subnet {RUN}/search/best.json --run photos/first --set retrain.learning_rate=1e-4"
    )
    assert not (RUN / "retrain" / "model.json").exists()
    assert noah("eval").error_lines[0] == "Error: The subnet of photos/first has not been retrained."

    outcome = noah_line(f"{command} --name lower")
    assert outcome.code == 0, outcome.err
    lower = Run(RUN.with_name("lower"))
    model = lower.read_json("retrain", "model.json")
    assert np.isfinite(model["losses"]).all()
    assert model["subnet"] == json.loads((RUN / "search" / "best.json").read_text())["subnet"]
    assert all(
        np.isfinite(value).all() for value in load_file(lower.path("retrain", "checkpoint.safetensors")).values()
    )


def test_a_given_subnet_is_trained_again_as_the_hint_says(good_folder: Path) -> None:
    outcome = noah("retrain", "--subnet", "lora:2", "--name", "first", "--set", f"retrain.learning_rate={WILD}")
    assert outcome.code == 1, outcome.out
    command = outcome.error_lines[1].split(": ", 1)[1]
    assert command == "noah retrain --subnet lora:2 --run photos/first --set retrain.learning_rate=1e-4"
    assert noah_line(command).code == 0


def test_a_subnet_of_a_front_is_trained_again_as_the_hint_says(good_folder: Path) -> None:
    assert noah("search", "--run", "first", "--runs", "other", "--objective", "accuracy,params").code == 0
    rate = f"retrain.learning_rate={WILD}"
    outcome = noah("retrain", "--subnet", "pareto:1", "--runs", "other", "--name", "second", "--set", rate)
    assert outcome.code == 1
    command = outcome.error_lines[1].split(": ", 1)[1]
    assert command == "noah retrain --subnet pareto:1 --run other/photos/first --set retrain.learning_rate=1e-4"
    assert noah_line(command).code == 0


def test_the_finalists(good_folder: Path) -> None:
    outcome = noah("search", "--set", f"retrain.learning_rate={WILD}", "--rerank", "2")
    assert outcome.code == 1
    assert outcome.error_lines[0].startswith("Error: The training loss is ")
    assert outcome.error_lines[1] == (
        "Start a new run with a lower learning rate, such as --set retrain.learning_rate=1e-4."
    )
