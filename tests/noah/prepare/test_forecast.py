"""What a run would take: counts by hand, sums of the parts, and how many epochs fit into a limited time."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from noah.errors import EmptySpaceError
from noah.hardware.processes import Processes
from noah.prepare.context import Materials
from noah.prepare.forecast import SEARCH_SHARE, Forecast, epochs_within, forecast, plan_epochs
from noah.prepare.trial_steps import EvaluationTrial, TrainingTrial
from noah.progress import Silent
from noah.space.budget import Budget, parameter_budget
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, make_materials

pytestmark = pytest.mark.usefixtures("one_thread")

BUDGET = parameter_budget(14_000, 64)


@pytest.fixture(scope="module")
def materials(tiny_settings: TinySettings) -> Materials:
    changes = {"supernet.epochs": 20, "supernet.batch_size": 10, "retrain.epochs": 3, "search.generations": 4}
    return make_materials(tiny_settings(changes))


@pytest.fixture(scope="module")
def made(materials: Materials) -> Forecast:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    value = forecast(materials, BUDGET, Silent())
    torch.set_num_threads(threads)
    return value


def test_steps_and_images_are_those_of_the_run(made: Forecast, materials: Materials) -> None:
    """36 training, 18 validation images; batches of 10 for the supernet and of 8 for the retraining."""
    assert made.retrain is not None
    assert (made.supernet.steps, made.supernet.images) == (20 * 4, 20 * 36)
    assert (made.search.steps, made.search.images) == (4 * 5, 4 * 5 * 18)
    assert (made.retrain.steps, made.retrain.images) == (3 * 7, 3 * 54)
    assert (made.supernet.at_most, made.search.at_most, made.retrain.at_most) == (False, True, False)
    assert (made.space_size, made.inside_budget.number) == (materials.space.size(), materials.space.size(BUDGET))
    assert (made.inside_budget.standard_error, made.budget) == (0, "14,000 parameters")
    assert (made.device, made.precision, made.threads, made.backbone) == ("cpu", "fp32", 1, "test_vit")
    assert made.processes == 1
    assert (made.advice, made.finalists) == ((), None)


def test_seconds_are_the_sum_of_what_was_timed(made: Forecast) -> None:
    assert made.retrain is not None
    assert made.epoch_seconds == pytest.approx(4 * made.step_seconds)
    assert made.supernet.seconds == pytest.approx(made.supernet.reading + 20 * made.epoch_seconds)
    search = made.search.reading + 20 * made.merge_seconds + 20 * 18 * made.image_seconds
    assert made.search.seconds == pytest.approx(search)
    assert made.seconds == pytest.approx(made.supernet.seconds + made.search.seconds + made.retrain.seconds)
    assert made.retrain.seconds > made.retrain.reading > 0


@pytest.mark.parametrize(
    ("changes", "steps", "at_most"),
    [
        ({"search.racing": "off"}, 8, False),
        ({"search.racing": "paired"}, 8, True),
        ({"search.sampler": "published"}, 8, False),
        ({"search.population": 10**6, "space.prompt": [], "space.lora": [], "space.depths": [1]}, 3, True),
    ],
    ids=["off", "paired", "published", "few"],
)
def test_evaluations_are_as_many_as_there_can_be(
    tiny_settings: TinySettings, changes: dict[str, object], steps: int, at_most: bool
) -> None:
    listener = Recorder()
    made = forecast(make_materials(tiny_settings(changes)), Budget(), listener, retraining=False)
    assert (made.search.steps, made.search.images, made.search.at_most) == (steps, 18 * steps, at_most)
    assert (made.retrain, made.budget) == (None, "")
    assert set(listener.bars) == {"timing the training of the supernet", "timing the search"}


@pytest.mark.parametrize(("count", "rounds"), [(1, 20), (2, 10), (3, 7), (64, 1)])
def test_processes_share_the_candidates_and_a_step_is_that_of_all(
    materials: Materials, monkeypatch: pytest.MonkeyPatch, count: int, rounds: int
) -> None:
    """With the timings given: those of a training are of steps that all processes took together."""
    training, evaluation = TrainingTrial(3.0, 0.5, None), EvaluationTrial(2.0, 0.25, 0.125, None)
    monkeypatch.setattr("noah.prepare.forecast.try_supernet_training", lambda *_: training)
    monkeypatch.setattr("noah.prepare.forecast.try_retraining", lambda *_: training)
    monkeypatch.setattr("noah.prepare.forecast.try_evaluation", lambda *_: evaluation)
    hardware = replace(materials.hardware, processes=Processes(0, count, 0, count))
    made = forecast(replace(materials, hardware=hardware), BUDGET, Silent())
    assert made.processes == count
    assert (made.search.steps, made.search.images) == (20, 20 * 18)
    assert made.search.seconds == 2.0 + rounds * (0.25 + 18 * 0.125)
    assert made.supernet.seconds == 3.0 + 20 * 4 * 0.5


@pytest.mark.parametrize(
    ("changes", "trainings", "epochs"),
    [
        ({"search.rerank": 3}, 3, 2),
        ({"search.rerank": 3, "search.rerank_epochs": 5}, 3, 5),
        ({"search.rerank": 100}, 8, 2),  # there are no more candidates
        ({"search.rerank": 1}, 0, 2),
    ],
)
def test_finalists_are_trained_on_the_training_images(
    tiny_settings: TinySettings, changes: dict[str, object], trainings: int, epochs: int
) -> None:
    made = forecast(make_materials(tiny_settings({"retrain.epochs": 8, **changes})), BUDGET, Silent())
    if not trainings:
        assert made.finalists is None
        return
    assert made.finalists is not None
    assert (made.finalists.steps, made.finalists.images) == (trainings * epochs * 5, trainings * epochs * 36)
    assert made.finalists.seconds > made.finalists.reading > 0
    assert made.search_seconds == pytest.approx(made.supernet.seconds + made.search.seconds + made.finalists.seconds)


def test_a_budget_that_admits_nothing_is_refused_at_once(materials: Materials) -> None:
    listener = Recorder()
    with pytest.raises(EmptySpaceError):
        forecast(materials, parameter_budget(100, 64), listener)
    assert listener.bars == {}


def test_it_is_written_as_json(made: Forecast) -> None:
    value = made.to_json()
    assert json.loads(json.dumps(value)) == value
    assert value["seconds"] == made.seconds
    assert value["search"]["images"] == 360
    assert value["inside_budget"] == made.inside_budget.number


seconds = st.floats(0, 1e6)
epoch_seconds = st.floats(1e-3, 1e4)
wanted = st.integers(1, 1000)


@given(seconds, seconds, epoch_seconds, wanted, seconds)
def test_more_time_never_makes_fewer_epochs(one: float, other: float, epoch: float, epochs: int, search: float) -> None:
    less, more = (epochs_within(time, epoch, epochs, search_seconds=search) for time in sorted((one, other)))
    assert 1 <= less <= more <= epochs


@given(seconds, epoch_seconds, epoch_seconds, wanted)
def test_slower_epochs_never_make_more_of_them(time: float, one: float, other: float, epochs: int) -> None:
    quick, slow = sorted((one, other))
    assert epochs_within(time, slow, epochs) <= epochs_within(time, quick, epochs)


@given(seconds, epoch_seconds, wanted)
def test_the_search_keeps_its_share_and_training_the_rest(time: float, epoch: float, epochs: int) -> None:
    fitting = epochs_within(time, epoch, epochs)
    allowed = (1 - SEARCH_SHARE) * time
    assert fitting == 1 or fitting * epoch <= allowed * (1 + 1e-9)
    assert fitting == epochs or (fitting + 1) * epoch > allowed * (1 - 1e-9)


@pytest.mark.parametrize(
    ("time", "epoch", "epochs", "search", "fitting"),
    [
        (1000, 70, 500, math.inf, 10),
        (1000, 70, 500, 1e9, 10),
        (1000, 70, 500, 20, 14),  # the search cannot use 300 seconds
        (1000, 70, 4, math.inf, 4),
        (10, 70, 500, math.inf, 1),
        (0, 70, 500, math.inf, 1),
        (1000, 0, 500, math.inf, 500),
    ],
)
def test_epochs_by_hand(time: float, epoch: float, epochs: int, search: float, fitting: int) -> None:
    assert epochs_within(time, epoch, epochs, search_seconds=search) == fitting


def test_a_limit_is_planned_with_the_forecast(made: Forecast, materials: Materials) -> None:
    read = replace(made.supernet, reading=100.0)
    slow = replace(made, supernet=read, epoch_seconds=70.0, search=replace(made.search, seconds=1e9))
    assert plan_epochs(1100, slow, materials.settings) == 10
    assert plan_epochs(50, slow, materials.settings) == 1
    assert plan_epochs(1e6, slow, materials.settings) == 20
    quick = replace(slow, search=replace(made.search, seconds=20.0))
    assert plan_epochs(1100, quick, materials.settings) == 14


def test_no_file_is_left(materials: Materials, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    forecast(materials, BUDGET, Silent(), retraining=False)
    assert list(tmp_path.iterdir()) == []
