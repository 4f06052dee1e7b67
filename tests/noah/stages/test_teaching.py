"""What finalists teach the winner: real finalists of a tiny search, and labels computed again without the merge."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noah.errors import RunError, SettingsError
from noah.evaluation.score import compute_logits
from noah.files.jsonl import append_line
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials
from noah.prepare.held_out import final_images
from noah.progress import Silent
from noah.runs.folder import Run
from noah.settings.layers import Layer, resolve
from noah.stages.finalist import read_final
from noah.stages.rerank import read_finalists, read_reranked
from noah.stages.retrain_stage import retrain
from noah.stages.search_stage import search
from noah.stages.teaching import softened, taught_labels
from noah.training.checkpoint import load_weights, read_checkpoint
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, content, make_materials, start_run

pytestmark = pytest.mark.usefixtures("one_thread")

CHANGES = {
    **{"search.rerank": 2, "search.rerank_epochs": 2, "retrain.teachers": "finalists"},
    **{"retrain.teacher_share": 0.75, "retrain.teacher_temperature": 3.0},
}
TITLE = "retraining the winner"


@pytest.fixture(scope="module")
def materials(tiny_settings: TinySettings) -> Materials:
    threads = torch.get_num_threads()
    made = make_materials(tiny_settings(CHANGES))
    torch.set_num_threads(threads)
    return made


@pytest.fixture(scope="module")
def searched(materials: Materials, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A search with a final of two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    run = start_run(tmp_path_factory.mktemp("searched"), materials)
    search(run, materials, Silent())
    torch.set_num_threads(threads)
    return run


@pytest.fixture
def run(searched: Run, tmp_path: Path) -> Run:
    return Run(Path(shutil.copytree(searched.folder, tmp_path / searched.folder.name)))


@given(
    arrays(np.float32, (3, 4), elements=st.floats(-50, 50, width=32)),
    st.floats(0.125, 50, width=32),
)
def test_a_higher_temperature_flattens_and_keeps_the_order(logits: np.ndarray, temperature: float) -> None:
    shares, flatter = softened(logits, temperature), softened(logits, 2 * temperature)
    assert shares.sum(axis=1) == pytest.approx(np.ones(3), abs=1e-5)
    assert (flatter.max(axis=1) <= shares.max(axis=1) + 1e-6).all()
    best = logits.argmax(axis=1)
    assert (shares[np.arange(3), best] >= shares.max(axis=1) - 1e-6).all()


def test_the_labels_are_mixed_with_the_mean_of_the_finalists(run: Run, materials: Materials) -> None:
    listener = Recorder()
    split = materials.dataset.full_train
    taught = taught_labels(run, materials, split, listener)
    assert taught is not None
    finalists = read_finalists(run)
    assert taught.teachers == tuple(each.index for each in finalists)
    pixels = materials.pixels(split, "some", Silent())
    mean = np.zeros((len(pixels), 3))
    for each in finalists:
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
        powers = np.exp(logits.astype(np.float64) / 3)
        mean += powers / powers.sum(axis=1, keepdims=True) / len(finalists)
    expected = 0.75 * mean + 0.25 * (pixels.labels[:, None] == np.arange(3))
    assert taught.shares == pytest.approx(expected, abs=1e-5)
    (said,) = (line for line in listener.said if line.startswith("teachers"))
    assert "2 finalists" in said
    assert "75%" in said


def test_the_winner_learns_from_them_and_says_who_taught(run: Run, materials: Materials, tmp_path: Path) -> None:
    plain = Run(Path(shutil.copytree(run.folder, tmp_path / "plain" / run.folder.name)))
    settings = materials.settings.model_copy(
        update={"retrain": materials.settings.retrain.model_copy(update={"teachers": "none"})}
    )
    taught, alone = retrain(run, materials, Silent()), retrain(plain, replace(materials, settings=settings), Silent())
    assert taught["teachers"] == [each.index for each in read_finalists(run)]
    assert "teachers" not in alone
    assert taught["losses"] != alone["losses"]


def test_those_of_a_final_before_the_search_went_on_do_not_teach(run: Run, materials: Materials) -> None:
    before = taught_labels(run, materials, materials.dataset.full_train, Silent())
    first, second = read_reranked(run.path("search", "rerank.jsonl"))
    run.path("search", "rerank.jsonl").unlink()
    for each in (replace(first, index=99), second, first):  # trained in another order, too
        append_line(run.path("search", "rerank.jsonl"), each.to_json())
    after = taught_labels(run, materials, materials.dataset.full_train, Silent())
    assert before is not None and after is not None
    assert after.teachers == before.teachers
    assert np.array_equal(after.shares, before.shares)


def test_a_taught_training_that_was_stopped_goes_on(run: Run, materials: Materials, tmp_path: Path) -> None:
    whole = Run(Path(shutil.copytree(run.folder, tmp_path / "whole" / run.folder.name)))
    retrain(whole, materials, Silent())
    with pytest.raises(KeyboardInterrupt):
        retrain(run, materials, Recorder({TITLE: 1}))
    retrain(run, materials, Silent())
    assert content(run) == content(whole)


def test_a_finalist_whose_weights_are_gone_leaves_a_way_to_train_the_winner(run: Run, materials: Materials) -> None:
    gone = read_finalists(run)[1].index
    run.path("search", "rerank", str(gone), "checkpoint.safetensors").unlink()
    with pytest.raises(RunError, match="is missing") as caught:
        retrain(run, materials, Silent())
    best = run.path("search", "best.json")
    assert caught.value.hint.endswith(f"noah retrain --subnet {best} --run {run.option} --set retrain.teachers=none")


def test_what_is_held_out_from_the_winner_is_held_out_from_its_teachers(
    tiny_settings: TinySettings, tmp_path: Path
) -> None:
    materials = make_materials(tiny_settings(CHANGES | {"retrain.hold_out": 0.25}))
    listener = Recorder()
    run = start_run(tmp_path, materials)
    learned = read_final(run, materials, listener).pixels
    held_out = final_images(materials).held_out
    assert held_out is not None
    both, train = held_out.both, materials.dataset.train
    names = {both.name(index) for index in range(len(both))}
    left = [index for index in range(len(train)) if train.name(index) not in names]
    assert 0 < len(left) == len(learned) < len(train)
    assert np.array_equal(learned.labels, train.labels[left])
    assert any(said.startswith(f"finalists learn from {len(left)} of {len(train)} training") for said in listener.said)
    settings = materials.settings.retrain.model_copy(update={"teachers": "none"})
    alone = replace(materials, settings=materials.settings.model_copy(update={"retrain": settings}))
    assert len(read_final(run, alone, Silent()).pixels) == len(train)


def test_without_a_final_the_labels_alone_teach(run: Run, materials: Materials) -> None:
    run.write_json({**run.read_json("search", "best.json"), "rerank": None}, "search", "best.json")
    listener = Recorder()
    assert taught_labels(run, materials, materials.dataset.full_train, listener) is None
    assert any(line.startswith("teachers  none") for line in listener.said)


def test_mixed_images_have_no_teacher() -> None:
    values = {"retrain": {"teachers": "finalists", "augmentation": {"mixup": 0.2}}}
    with pytest.raises(SettingsError, match="cannot teach images that mixup or cutmix mixes"):
        resolve([Layer(source="--set", values=values)])
