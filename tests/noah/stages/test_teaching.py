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

from noah.errors import SettingsError
from noah.evaluation.score import compute_logits
from noah.prepare.build import build_supernet
from noah.prepare.context import Materials
from noah.progress import Silent
from noah.runs.folder import Run
from noah.settings.layers import Layer, resolve
from noah.stages.rerank import read_reranked
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
    finalists = read_reranked(run.path("search", "rerank.jsonl"))
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
    assert taught["teachers"] == [each.index for each in read_reranked(run.path("search", "rerank.jsonl"))]
    assert "teachers" not in alone
    assert taught["losses"] != alone["losses"]


def test_a_taught_training_that_was_stopped_goes_on(run: Run, materials: Materials, tmp_path: Path) -> None:
    whole = Run(Path(shutil.copytree(run.folder, tmp_path / "whole" / run.folder.name)))
    retrain(whole, materials, Silent())
    with pytest.raises(KeyboardInterrupt):
        retrain(run, materials, Recorder({TITLE: 1}))
    retrain(run, materials, Silent())
    assert content(run) == content(whole)


def test_without_a_final_the_labels_alone_teach(run: Run, materials: Materials) -> None:
    run.path("search", "rerank.jsonl").unlink()
    listener = Recorder()
    assert taught_labels(run, materials, materials.dataset.full_train, listener) is None
    assert any(line.startswith("teachers  none") for line in listener.said)


def test_mixed_images_have_no_teacher() -> None:
    values = {"retrain": {"teachers": "finalists", "augmentation": {"mixup": 0.2}}}
    with pytest.raises(SettingsError, match="cannot teach images that mixup or cutmix mixes"):
        resolve([Layer(source="--set", values=values)])
