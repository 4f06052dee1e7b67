"""A subnet whose logits are not finite never wins, whatever searches; and it is written in words that JSON has."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st
from numpy.typing import NDArray

from noah.errors import TrainingError
from noah.evaluation.accuracy import Score
from noah.evaluation.score import score
from noah.nas.candidate import Candidate, front, rank
from noah.nas.candidate_evaluation import Ask, candidate_logits
from noah.nas.evolution import winner
from noah.nas.racing import Look, look_at, outcome_of
from noah.progress import Silent
from noah.settings.settings import EvolutionSettings
from noah.space.subnet import Subnet
from noah.stages.retrain_stage import evaluate_test, retrain
from noah.stages.search_stage import search
from noah.training.checkpoint_file import CHECKPOINT_FILE
from tests.conftest import TinySettings
from tests.noah.shared_search import SETTINGS, Answers, make_task, run_search
from tests.noah.tiny_run import Recorder, make_materials, start_run

SAMPLERS = ["evolution", "nsga2", "tpe", "random", "published"]
VALUES = st.sampled_from([math.nan, math.inf, -math.inf])


class Overflowing(Answers):
    """Subnets with an odd number of LoRA's widths give one image a logit that is not finite, and are right else."""

    def overflows(self, subnet: Subnet) -> bool:
        return sum(subnet.lora) % 2 == 1

    def logits(self, subnet: Subnet) -> NDArray[np.float32]:
        values = super().logits(subnet)
        if self.overflows(subnet):
            values[np.arange(self.images), self.labels] += 100
            values[len(subnet.lora) * sum(subnet.prompt) % self.images, 0] = math.nan
        return values


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("racing", ["exact", "paired", "off"])
@pytest.mark.parametrize("objective", ["accuracy", "accuracy,params"])
def test_the_winner_is_the_best_of_the_others(sampler: str, racing: str, objective: str) -> None:
    changes: dict[str, Any] = {"sampler": sampler, "racing": racing, "objective": objective, "generations": 1}
    settings = SETTINGS.model_copy(update=changes)
    answers = Overflowing(40)
    candidates = run_search(make_task(settings, images=40), answers.show)
    failed = [candidate for candidate in candidates if answers.overflows(candidate.subnet)]
    assert 0 < len(failed) < len(candidates)
    assert not any(candidate.outcome.complete for candidate in failed)
    assert not any(candidate.failed for candidate in candidates if candidate not in failed)
    best = winner(candidates, settings)
    assert best.outcome.complete
    assert not best.failed
    assert not any(answers.overflows(candidate.subnet) for candidate in front(candidates))
    for candidate in candidates:
        line = json.dumps(candidate.to_json(), allow_nan=False)
        assert Candidate.from_json(json.loads(line)) == candidate


def test_racing_finds_the_best_that_a_full_evaluation_finds() -> None:
    answers = Overflowing(40, seed=3)
    full, raced = (
        run_search(make_task(SETTINGS.model_copy(update={"racing": rule}), images=40), answers.show)
        for rule in ("off", "exact")
    )
    assert rank(full)[:4] == rank(raced)[:4]


def test_where_all_fail_all_are_evaluated_and_none_is_complete() -> None:
    class Nothing(Answers):
        def logits(self, subnet: Subnet) -> NDArray[np.float32]:
            return np.full((self.images, 3), math.nan, np.float32)

    for sampler in SAMPLERS:
        settings: EvolutionSettings = SETTINGS.model_copy(update={"sampler": sampler, "generations": 1})
        candidates = run_search(make_task(settings, images=40), Nothing(40).show)
        assert len(candidates) == 16
        assert all(candidate.failed and not candidate.outcome.complete for candidate in candidates)
        assert front(candidates) == []
        in_time = run_search(make_task(settings, images=40), Nothing(40).show, out_of_time=lambda: True)
        assert 0 < len(in_time) < 16  # those of the round that was under way


@given(st.data())
def test_an_image_with_such_a_logit_is_wrong_whatever_its_label(data: st.DataObject) -> None:
    images, classes = data.draw(st.integers(1, 6)), data.draw(st.integers(2, 4))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    logits, labels = rng.normal(size=(images, classes)).astype(np.float32), rng.integers(classes, size=images)
    broken = data.draw(st.sets(st.integers(0, images - 1), min_size=1))
    for image in broken:
        logits[image, data.draw(st.integers(0, classes - 1))] = data.draw(VALUES)
    look = look_at(np.arange(images), labels, logits)
    assert set(look.wrong) >= broken
    assert look.failed
    assert Look.from_json(json.loads(json.dumps(look.to_json(), allow_nan=False))) == look
    outcome = outcome_of([look], images)
    assert not outcome.complete
    found = score(logits, labels)
    assert found == Score(images - len(look.wrong), images, math.inf)
    assert found.to_json()["cross_entropy"] is None


@pytest.mark.usefixtures("one_thread")
def test_stages_refuse_to_choose_or_to_store_such_figures(tiny_settings: TinySettings, tmp_path: Path) -> None:
    """Weights that are finite, and logits that are not: the head's are as large as float32 has."""
    from safetensors import safe_open
    from safetensors.torch import save_file

    def overflow(path: Path) -> None:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
            metadata = file.metadata()
        tensors["weights/head.weight"] = torch.full_like(tensors["weights/head.weight"], 3e38)
        save_file(tensors, path, metadata=metadata)

    materials = make_materials(tiny_settings())
    run = start_run(tmp_path, materials)
    with pytest.raises(KeyboardInterrupt):
        search(run, materials, Recorder({"searching subnets": 0}))
    good = run.path("supernet", CHECKPOINT_FILE).read_bytes()
    shutil.rmtree(run.path("search"))
    overflow(run.path("supernet", CHECKPOINT_FILE))
    with pytest.raises(TrainingError) as raised:
        search(run, materials, Silent())
    assert str(raised.value) == (
        "No subnet can win: the logits of 8 of 8 are not finite for some images.\n"
        "Start a new run with a lower supernet.learning_rate, or find out what is wrong with the backbone."
    )
    assert not run.path("search", "best.json").exists()

    shutil.rmtree(run.path("search"))
    run.path("supernet", CHECKPOINT_FILE).write_bytes(good)
    told = Recorder()
    with patch("noah.stages.search_stage.candidate_logits", half_of_them_fail):
        best = search(run, materials, told)
    assert sum(best["subnet"]["lora"]) % 2 == 0
    (line,) = [line for line in told.said if line.startswith("given up")]
    assert 0 < int(line.split()[2]) < best["evaluated"] == 8
    assert best["given_up"] == 0  # by a race
    assert line.endswith(" of 8 subnets, whose logits are not finite for some images")
    retrain(run, materials, Silent())
    overflow(run.path("retrain", CHECKPOINT_FILE))
    with pytest.raises(TrainingError, match=r"^The subnet's logits are not finite for 18 of 18 images\."):
        evaluate_test(run, materials, Silent())
    assert not run.path("eval").exists()


def half_of_them_fail(*arguments: Any) -> Ask:
    """The real answers, spoiled where LoRA's widths add up to an odd number."""
    ask = candidate_logits(*arguments)

    def spoiled(subnet: Subnet, images: NDArray[np.int64]) -> NDArray[np.float32]:
        return ask(subnet, images) * np.float32(math.nan if sum(subnet.lora) % 2 else 1)

    return spoiled


@given(st.lists(st.booleans(), min_size=1, max_size=8), st.randoms())
@settings_of_hypothesis(max_examples=50)
def test_the_order_of_looks_does_not_matter(failing: list[bool], order: Any) -> None:
    looks = [Look((image,), (image,) if bad else (), math.inf if bad else 0.5) for image, bad in enumerate(failing)]
    shuffled = looks.copy()
    order.shuffle(shuffled)
    first, second = outcome_of(looks, len(looks)), outcome_of(shuffled, len(looks))
    assert (first.score, first.wrong, first.complete) == (second.score, second.wrong, second.complete)
    assert first.complete == (not any(failing))
