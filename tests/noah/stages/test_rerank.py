"""The final choice: real short trainings of a few subnets."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from noah.errors import RunError, TrainingError
from noah.evaluation.accuracy import Score
from noah.evaluation.score import compute_logits, predicted_labels, score
from noah.files.jsonl import append_line, read_lines
from noah.model.supernet import Supernet, slice_trainable_state
from noah.nas.candidate import Candidate, rank
from noah.nas.outcome import Outcome
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials, seed_torch
from noah.progress import Silent
from noah.runs.folder import Run
from noah.settings.settings import rerank_epochs
from noah.space.operators import sample
from noah.space.subnet import Subnet
from noah.stages.finalist import Reranked
from noah.stages.rerank import read_reranked, rerank
from noah.training.checkpoint import load_weights, read_checkpoint
from noah.training.loop import train
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, content, make_materials, start_run

pytestmark = pytest.mark.usefixtures("one_thread")

M, EPOCHS = 3, 2


@pytest.fixture(scope="module")
def materials(tiny_settings: TinySettings) -> Materials:
    threads = torch.get_num_threads()
    made = make_materials(tiny_settings({"retrain.epochs": 8, "retrain.warmup_epochs": 2}))
    torch.set_num_threads(threads)
    return made


@pytest.fixture(scope="module")
def candidates(materials: Materials) -> list[Candidate]:
    """Five in the order of a search; the second was given up in a race."""
    rng = np.random.default_rng(0)
    images = len(materials.dataset.validation)
    made = []
    for index, correct in enumerate((12, 17, 13, 14, 3)):
        subnet = sample(materials.space, rng)
        shown = tuple(range(17)) if index == 1 else None
        outcome = Outcome(Score(correct, 17 if shown else images, 0.5), tuple(range(images - correct)), shown)
        made.append(Candidate(index, 0, "random", subnet, subnet.parameter_count(64), outcome))
    return made


@pytest.fixture(scope="module")
def finished(
    materials: Materials, candidates: list[Candidate], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Run, list[Reranked]]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = start_run(tmp_path_factory.mktemp("rerank"), materials)
    reranked = rerank(run, materials, rank(candidates), M, EPOCHS, Silent())
    torch.set_num_threads(threads)
    return run, reranked


def test_the_best_complete_candidates_are_trained_and_ranked(
    finished: tuple[Run, list[Reranked]], candidates: list[Candidate]
) -> None:
    run, reranked = finished
    assert {each.index for each in reranked} == {0, 2, 3}  # 1 was given up, 4 is worse
    assert [(-e.score.correct, e.score.cross_entropy) for e in reranked] == sorted(
        (-e.score.correct, e.score.cross_entropy) for e in reranked
    )
    for each in reranked:
        assert each.subnet == candidates[each.index].subnet
        assert (each.outcome.complete, each.score.total, len(each.losses)) == (True, 18, EPOCHS)
        assert len(each.outcome.wrong) == 18 - each.score.correct
        assert each.losses[1] < each.losses[0]
    assert len({each.score.cross_entropy for each in reranked}) == M
    lines = read_reranked(run.path("search", "rerank.jsonl"))
    assert [line.index for line in lines] == [3, 2, 0]  # trained in the order of the search
    assert sorted(lines, key=lambda line: line.index) == sorted(reranked, key=lambda line: line.index)


def test_scores_are_those_of_the_unmerged_model_on_the_validation_images(
    finished: tuple[Run, list[Reranked]], materials: Materials
) -> None:
    run, reranked = finished
    pixels = materials.pixels(materials.dataset.validation, "some", Silent())
    for each in reranked:
        model = build_supernet(materials, each.subnet, materials.settings.retrain)
        stored = read_checkpoint(run.path("search", "rerank", str(each.index), "checkpoint.safetensors"))
        load_weights(stored, model)
        model.eval()
        logits = compute_logits(
            lambda x, model=model, each=each: model(x, each.subnet),
            pixels,
            materials.backbone.preprocessing,
            materials.hardware,
            64,
        )
        expected = score(logits, pixels.labels)
        assert each.score.correct == expected.correct
        assert each.score.cross_entropy == pytest.approx(expected.cross_entropy, rel=1e-4)
        assert each.outcome.wrong == tuple(np.flatnonzero(predicted_labels(logits) != pixels.labels))
        assert stored.losses == each.losses


def test_a_finalist_whose_logits_are_not_finite_ends_the_final_choice(
    materials: Materials, candidates: list[Candidate], tmp_path: Path
) -> None:
    """With weights as large as float32 has, which no training is known to leave."""

    def overflow(model: Supernet, *arguments: Any, **options: Any) -> list[float]:
        losses = train(model, *arguments, **options)
        model.head.weight.data.fill_(3e38)
        return losses

    run = start_run(tmp_path, materials)
    with (
        patch("noah.stages.finalist.train", overflow),
        pytest.raises(TrainingError, match="logits are not finite for 18 of 18 images"),
    ):
        rerank(run, materials, rank(candidates), M, 1, Silent())
    assert not run.path("search", "rerank.jsonl").exists()


def test_it_trains_on_the_training_images_alone(
    finished: tuple[Run, list[Reranked]], materials: Materials, candidates: list[Candidate], tmp_path: Path
) -> None:
    """The same training written out here, of the first candidate, gives the same losses."""
    _, reranked = finished
    subnet = candidates[3].subnet
    seed = (materials.settings.seed, 4)
    seed_torch(*seed)
    short = materials.settings.retrain.model_copy(update={"epochs": EPOCHS, "warmup_epochs": 0.5})
    losses = train(
        build_supernet(materials, subnet, short),
        materials.pixels(materials.dataset.train, "training", Silent()),
        materials.backbone.preprocessing,
        lambda *_: (subnet,),
        short,
        materials.hardware,
        seed=seed,
        checkpoint=tmp_path / "checkpoint.safetensors",
        bar=Silent(),
        say=Silent().say,
    )
    assert next(each for each in reranked if each.index == 3).losses == tuple(losses)


@pytest.mark.parametrize(
    ("title", "done"),
    [
        ("training finalist 1 of 3, subnet 3", 1),
        ("training finalist 2 of 3, subnet 2", 0),
        ("training finalist 2 of 3, subnet 2", EPOCHS),
    ],
)
def test_a_killed_rerank_goes_on_as_if_nothing_had_been(
    finished: tuple[Run, list[Reranked]],
    materials: Materials,
    candidates: list[Candidate],
    tmp_path: Path,
    title: str,
    done: int,
) -> None:
    whole, reranked = finished
    run = start_run(tmp_path, materials)
    with pytest.raises(KeyboardInterrupt):
        rerank(run, materials, rank(candidates), M, EPOCHS, Recorder({title: done}))
    listener = Recorder()
    assert rerank(run, materials, rank(candidates), M, EPOCHS, listener) == reranked
    assert content(run) == content(whole)
    assert listener.bars[title][0] == done  # finished epochs are not trained again
    assert ("training finalist 1 of 3, subnet 3" in listener.bars) == title.startswith("training finalist 1")


def test_what_is_finished_is_neither_trained_nor_read_again(
    finished: tuple[Run, list[Reranked]], materials: Materials, candidates: list[Candidate]
) -> None:
    run, reranked = finished
    listener = Recorder()
    assert rerank(run, materials, rank(candidates), M, EPOCHS, listener) == reranked
    assert (listener.bars, listener.said) == ({}, [])
    assert rerank(run, materials, rank(candidates), 2, EPOCHS, listener) == [e for e in reranked if e.index in (2, 3)]


def test_other_settings_are_not_mixed(
    finished: tuple[Run, list[Reranked]], materials: Materials, candidates: list[Candidate]
) -> None:
    run, _ = finished
    before = content(run)
    with pytest.raises(RunError, match=r"other settings: epochs, warmup_epochs\.\nGo on with .* remove .*rerank"):
        rerank(run, materials, rank(candidates), M, EPOCHS + 1, Silent())
    assert content(run) == before


def test_a_final_that_saw_what_is_held_out_is_not_mixed_with_one_that_does_not(
    finished: tuple[Run, list[Reranked]], materials: Materials, candidates: list[Candidate]
) -> None:
    """As of an earlier version, whose finalists learned from all training images and taught."""
    run, reranked = finished
    retrain = materials.settings.retrain

    def again(**changes: Any) -> list[Reranked]:
        settings = materials.settings.model_copy(update={"retrain": retrain.model_copy(update=changes)})
        return rerank(run, replace(materials, settings=settings), rank(candidates), M, EPOCHS, Silent())

    assert again(hold_out=0.25) == again(teachers="finalists") == reranked
    with pytest.raises(RunError, match="were trained with other settings: hold_out"):
        again(hold_out=0.25, teachers="finalists")


def test_inheriting_starts_from_the_supernets_slices(
    tiny_settings: TinySettings, candidates: list[Candidate], tmp_path: Path
) -> None:
    """With a learning rate that moves nothing, what comes out is what training started from."""
    still = {"epochs": 1, "learning_rate": 1e-30, "minimum_learning_rate": 0.0, "warmup_epochs": 0, "inherit": True}
    materials = make_materials(tiny_settings({"retrain": still}))
    run = start_run(tmp_path, materials)
    with pytest.raises(RunError, match=r"supernet.*is missing"):
        rerank(run, materials, rank(candidates), 2, 1, Silent())

    seed_torch(1)
    largest, training = materials.space.largest, materials.settings.supernet
    supernet = build_supernet(materials, largest, training)
    train(
        supernet,
        materials.pixels(materials.dataset.train, "training", Silent()),
        materials.backbone.preprocessing,
        lambda *_: (largest,),
        training,
        materials.hardware,
        seed=(1,),
        checkpoint=run.path("supernet", "checkpoint.safetensors"),
        bar=Silent(),
        say=Silent().say,
    )
    for reranked in rerank(run, materials, rank(candidates), 2, 1, Silent()):
        stored = read_checkpoint(run.path("search", "rerank", str(reranked.index), "checkpoint.safetensors"))
        sliced = slice_trainable_state(supernet, reranked.subnet)
        torch.testing.assert_close(stored.weights, sliced, rtol=0, atol=1e-20)
        assert max(value.abs().max() for name, value in sliced.items() if name.endswith(".b") and value.numel()) > 1e-3


def test_candidates_that_were_all_given_up_leave_nothing(
    materials: Materials, candidates: list[Candidate], tmp_path: Path
) -> None:
    run = start_run(tmp_path, materials)
    assert rerank(run, materials, [candidates[1]], M, EPOCHS, Silent()) == []
    assert not run.path("search").exists()


def test_a_single_candidate_is_not_trained_as_there_is_nothing_to_choose(
    materials: Materials, candidates: list[Candidate], tmp_path: Path
) -> None:
    run = start_run(tmp_path, materials)
    assert rerank(run, materials, [candidates[0], candidates[1]], M, EPOCHS, Silent()) == []
    assert not run.path("search").exists()


def test_invited_baselines_that_are_missing_are_told(
    materials: Materials, candidates: list[Candidate], tmp_path: Path
) -> None:
    search = materials.settings.search.model_copy(update={"baselines": True, "invited": ("lora", "lora+bias")})
    asked = replace(materials, settings=materials.settings.model_copy(update={"search": search}))
    single = replace(candidates[0], origin="single module", subnet=Subnet.uniform(materials.space.blocks, lora=1))
    listener = Recorder()
    assert rerank(start_run(tmp_path, asked), asked, [single], M, EPOCHS, listener) == []
    assert [said for said in listener.said if said.startswith("final")] == [
        "final     without lora+bias, which the search did not come to or could not measure"
    ]


@pytest.mark.parametrize("line", [{"index": 8}, {"index": 8, "subnet": {"lora": [1]}}, [1, 2], 3])
def test_a_damaged_line_is_told(tmp_path: Path, materials: Materials, candidates: list[Candidate], line: Any) -> None:
    run = start_run(tmp_path, materials)
    append_line(run.path("search", "rerank.jsonl"), line)
    with pytest.raises(RunError, match=r"rerank.jsonl is damaged in line 1: it is no (trained candidate|record)"):
        rerank(run, materials, rank(candidates), M, EPOCHS, Silent())


def test_a_line_of_another_search_is_told(
    finished: tuple[Run, list[Reranked]], materials: Materials, candidates: list[Candidate], tmp_path: Path
) -> None:
    run = start_run(tmp_path, materials)
    line = read_lines(finished[0].path("search", "rerank.jsonl"))[0]
    append_line(run.path("search", "rerank.jsonl"), {**line, "subnet": candidates[4].subnet.to_json()})
    with pytest.raises(RunError, match="other subnets than the search"):
        rerank(run, materials, rank(candidates), M, EPOCHS, Silent())


def test_epochs_are_a_quarter_of_the_retrainings_or_as_set(tiny_settings: TinySettings) -> None:
    for epochs, expected in ((1, 1), (3, 1), (4, 1), (40, 10)):
        assert rerank_epochs(make_materials(tiny_settings({"retrain.epochs": epochs})).settings) == expected
    set_to = {"retrain.epochs": 40, "search.rerank_epochs": 3}
    assert rerank_epochs(make_materials(tiny_settings(set_to)).settings) == 3


def test_it_is_read_as_it_was_written(finished: tuple[Run, list[Reranked]]) -> None:
    for each in finished[1]:
        assert Reranked.from_json(json.loads(json.dumps(each.to_json()))) == each


@pytest.fixture(scope="module")
def halved(tiny_settings: TinySettings) -> tuple[Materials, list[Candidate]]:
    """Six candidates for rounds of 1, 2 and 4 epochs; the worst two are single modules, one given up in a race."""
    changes = {"retrain.epochs": 8, "retrain.warmup_epochs": 2, "search.rungs": 3, "space.depths": [0, 3, 6]}
    materials = make_materials(tiny_settings(changes))
    rng, images = np.random.default_rng(0), len(materials.dataset.validation)
    made = []
    for index, correct in enumerate((17, 16, 15, 14, 13, 12)):
        alone = index >= 4
        subnet = Subnet.uniform(materials.space.blocks, **({"lora": index - 3} if alone else {"lora": 1, "adapter": 1}))
        subnet = subnet if alone else sample(materials.space, rng)
        shown = tuple(range(17)) if index == 5 else None
        outcome = Outcome(Score(correct, 17 if shown else images, 0.5), tuple(range(images - correct)), shown)
        origin = "single module" if alone else "random"
        made.append(Candidate(index, 0, origin, subnet, subnet.parameter_count(64), outcome))
    return materials, made


def test_the_better_half_goes_on_and_the_best_single_module_always(
    halved: tuple[Materials, list[Candidate]], tmp_path: Path
) -> None:
    materials, candidates = halved
    run, listener = start_run(tmp_path, materials), Recorder()
    reranked = rerank(run, materials, rank(candidates), 4, 4, listener)
    assert sorted(each.index for each in reranked) == [0, 1, 2, 3, 4, 5]
    lines = read_reranked(run.path("search", "rerank.jsonl"))
    rounds = {epochs: [line for line in lines if len(line.losses) == epochs] for epochs in (1, 2, 4)}
    assert [len(rounds[epochs]) for epochs in (1, 2)] == [6, len(rounds[2])]
    assert 3 <= len(rounds[2]) <= 4
    assert 2 <= len(rounds[4]) <= 3
    for before, after in ((1, 2), (2, 4)):
        key = {each.index: (-each.score.correct, each.score.cross_entropy) for each in rounds[before]}
        best = sorted(key, key=key.__getitem__)
        half = -(-len(candidates) // after)
        single = next(index for index in best if index >= 4)
        assert {each.index for each in rounds[after]} == {*best[:half], single}
    last = [(-each.score.correct, each.score.cross_entropy) for each in reranked if len(each.losses) == 4]
    assert last == sorted(last)
    assert [len(each.losses) for each in reranked] == sorted((len(e.losses) for e in reranked), reverse=True)
    assert f"training finalist 1 of {len(rounds[2])} in round 2 of 3, subnet {rounds[2][0].index}" in listener.bars


def test_rounds_that_were_interrupted_go_on_as_if_nothing_had_been(
    halved: tuple[Materials, list[Candidate]], tmp_path: Path
) -> None:
    materials, candidates = halved
    whole = start_run(tmp_path / "whole", materials)
    listener = Recorder()
    expected = rerank(whole, materials, rank(candidates), 4, 4, listener)
    title = next(title for title in listener.bars if title.startswith("training finalist 2") and "round 2" in title)
    run = start_run(tmp_path / "cut", materials)
    with pytest.raises(KeyboardInterrupt):
        rerank(run, materials, rank(candidates), 4, 4, Recorder({title: 1}))
    assert rerank(run, materials, rank(candidates), 4, 4, Silent()) == expected
    assert content(run) == content(whole)


def comparing_by(measure: str, materials: Materials) -> Materials:
    """The same with a final in one round that compares by that measure."""
    search = materials.settings.search.model_copy(update={"rerank_by": measure, "rungs": 1})
    return replace(materials, settings=materials.settings.model_copy(update={"search": search}))


def test_finalists_are_compared_by_cross_entropy_if_asked(
    halved: tuple[Materials, list[Candidate]], tmp_path: Path
) -> None:
    def found(measure: str) -> list[Reranked]:
        materials = comparing_by(measure, halved[0])
        return rerank(start_run(tmp_path / measure, materials), materials, rank(halved[1]), 4, 1, Silent())

    reranked, calibrated = found("cross_entropy"), found("calibrated_cross_entropy")
    losses = [each.score.cross_entropy for each in reranked]
    assert losses == sorted(losses)
    cooled = [each.calibrated for each in calibrated if each.calibrated is not None]
    assert len(cooled) == len(losses) and cooled == sorted(cooled)
    assert sorted(cooled) == sorted(each.calibrated or 0 for each in reranked)  # the same trainings
    assert all((each.calibrated or 0) <= each.score.cross_entropy for each in reranked)


@pytest.mark.parametrize(("measure", "best"), [("accuracy", 0), ("cross_entropy", 2), ("calibrated_cross_entropy", 2)])
def test_the_best_of_the_search_are_found_by_what_finalists_are_compared_by(
    halved: tuple[Materials, list[Candidate]], tmp_path: Path, measure: str, best: int
) -> None:
    materials, candidates = comparing_by(measure, halved[0]), halved[1]
    outcomes = [each.outcome for each in candidates]
    outcomes[2] = replace(outcomes[2], score=replace(outcomes[2].score, cross_entropy=0.4))
    candidates = [replace(each, outcome=outcome) for each, outcome in zip(candidates, outcomes, strict=True)]
    found = rerank(start_run(tmp_path, materials), materials, rank(candidates), 1, 1, Silent())
    assert {each.index for each in found} == {best, 4, 5}  # and both single modules


def test_a_final_of_an_older_version_has_no_calibrated_cross_entropy(
    halved: tuple[Materials, list[Candidate]], tmp_path: Path
) -> None:
    materials, candidates = comparing_by("calibrated_cross_entropy", halved[0]), halved[1]
    run = start_run(tmp_path, materials)
    rerank(run, materials, rank(candidates), 4, 1, Silent())
    path = run.path("search", "rerank.jsonl")
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    older = [{key: value for key, value in line.items() if key != "calibrated_cross_entropy"} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in older))
    with pytest.raises(RunError, match="did not know the calibrated cross-entropy"):
        rerank(run, materials, rank(candidates), 4, 1, Silent())
