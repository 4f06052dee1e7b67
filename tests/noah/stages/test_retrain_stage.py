from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import entropy
from sklearn.metrics import accuracy_score, log_loss

from noah.errors import CommandOrderError, EmptySpaceError, NoahError, RunError
from noah.evaluation.score import compute_logits, score
from noah.files.jsonl import read_lines
from noah.model.supernet import Supernet, slice_trainable_state
from noah.nas.candidate import Candidate, rank
from noah.prepare.context import Materials
from noah.prepare.run_budget import run_budget
from noah.progress import Silent
from noah.runs.folder import Run, open_run
from noah.runs.kept_predictions import fingerprint_split, read_predictions
from noah.runs.run_subnet import chosen_subnet
from noah.space.subnet import Subnet
from noah.stages.retrain_stage import evaluate_test, load_retrained, retrain
from noah.stages.search_stage import search
from noah.training import divergence
from noah.training.checkpoint import read_checkpoint
from tests.conftest import PHOTO_CLASSES, TinySettings
from tests.noah.tiny_run import Recorder, content, make_materials, start_run

pytestmark = pytest.mark.usefixtures("one_thread")

CANDIDATES = 8


@dataclass
class Finished:
    """A run whose three stages are done."""

    run: Run
    materials: Materials
    best: dict[str, Any]
    model: dict[str, Any]
    test: dict[str, Any]


@pytest.fixture(scope="module")
def finished(tiny_settings: TinySettings, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    threads = torch.get_num_threads()
    materials = make_materials(tiny_settings())
    run = start_run(tmp_path_factory.mktemp("finished"), materials)
    stages = [stage(run, materials, Silent()) for stage in (search, retrain, evaluate_test)]
    torch.set_num_threads(threads)
    return Finished(run, materials, *stages)


@pytest.fixture
def copied(finished: Finished, tmp_path: Path) -> Run:
    """A copy of the finished run, to be damaged."""
    return Run(Path(shutil.copytree(finished.run.folder, tmp_path / "shapes" / "copy")))


def supernet_of(finished: Finished) -> Supernet:
    supernet = Supernet(finished.materials.backbone.model, finished.materials.space.largest, num_classes=3)
    supernet.load_trainable_state(read_checkpoint(finished.run.path("supernet", "checkpoint.safetensors")).weights)
    return supernet.eval()


def subnet_logits(model: Supernet, subnet: Subnet, materials: Materials, split: Any) -> np.ndarray:
    """Through the supernet itself, unmerged."""
    pixels = materials.pixels(split, "some", Silent())
    return compute_logits(lambda x: model(x, subnet), pixels, materials.backbone.preprocessing, materials.hardware, 64)


def test_the_search_leaves_its_candidates_and_the_best_of_them(finished: Finished) -> None:
    materials, best = finished.materials, finished.best
    lines = read_lines(finished.run.path("search", "candidates.jsonl"))
    candidates = [Candidate.from_json(line) for line in lines]
    assert len(candidates) == best["evaluated"] == CANDIDATES
    assert all(c.parameters <= 14_000 and materials.space.contains(c.subnet) for c in candidates)
    assert finished.run.read_json("search", "best.json") == best
    assert Candidate.from_json(best) == rank(candidates)[0]
    assert chosen_subnet(finished.run) == rank(candidates)[0].subnet
    assert best["budget"] == {"parameters": 14_000}
    inside = materials.space.size(run_budget(finished.run, materials))
    assert 0 < best["inside_budget"] == inside < best["space_size"] == materials.space.size()
    assert best["reference_count"] == chosen_subnet(finished.run).reference_count(64, 10)


def test_scores_are_those_of_the_unmerged_supernet(finished: Finished) -> None:
    supernet, materials = supernet_of(finished), finished.materials
    labels = materials.dataset.validation.labels
    accuracies = set()
    for line in read_lines(finished.run.path("search", "candidates.jsonl")):
        candidate = Candidate.from_json(line)
        logits = subnet_logits(supernet, candidate.subnet, materials, materials.dataset.validation)
        expected = score(logits, labels)
        assert (candidate.score.correct, candidate.score.total) == (expected.correct, expected.total)
        assert candidate.score.cross_entropy == pytest.approx(expected.cross_entropy, rel=1e-4)
        accuracies.add(candidate.score.cross_entropy)
    assert len(accuracies) == CANDIDATES


def test_the_winner_is_retrained_on_training_and_validation_images(finished: Finished) -> None:
    model, run = finished.model, finished.run
    assert model == run.read_json("retrain", "model.json")
    assert Subnet.from_json(model["subnet"]) == chosen_subnet(run)
    assert (model["images"], model["seed"], model["head_parameters"]) == (54, 0, 64 * 3 + 3)
    assert model["parameters"] == chosen_subnet(run).parameter_count(64)
    assert model["losses"] == list(read_checkpoint(run.path("retrain", "checkpoint.safetensors")).losses)
    assert model["losses"][-1] < model["losses"][0]
    loaded, subnet = load_retrained(run, finished.materials)
    assert (loaded.largest, subnet, loaded.training) == (chosen_subnet(run), chosen_subnet(run), False)
    modules = [*loaded.prompts.parameters(), *loaded.loras.parameters(), *loaded.adapters.parameters()]
    assert sum(parameter.numel() for parameter in modules) == model["parameters"]


def test_the_test_score_is_that_of_the_retrained_network_on_the_test_files(
    finished: Finished, photo_folder: Path
) -> None:
    """The files are opened, resized, normalized and scored here by hand."""
    model, subnet = load_retrained(finished.run, finished.materials)
    paths = sorted((photo_folder / "test").rglob("*.png"))
    pixels = [np.asarray(Image.open(path).resize((32, 32), Image.Resampling.BICUBIC)) for path in paths]
    images = (torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5
    labels = [PHOTO_CLASSES.index(path.parent.name) for path in paths]
    with torch.no_grad():
        probabilities = model(images, subnet).double().softmax(dim=1).numpy()
    test = finished.test
    assert test == finished.run.read_json("eval", "test.json")
    assert (test["split"], test["total"]) == ("test", 18)
    assert test["accuracy"] == accuracy_score(labels, probabilities.argmax(axis=1))
    assert test["cross_entropy"] == pytest.approx(log_loss(labels, probabilities), rel=1e-4)
    assert list(test["class_accuracy"]) == list(PHOTO_CLASSES)
    assert Subnet.from_json(test["subnet"]) == subnet
    kept = read_predictions(finished.run, "test.json")
    assert (kept.labels.tolist(), kept.predicted.tolist()) == (labels, probabilities.argmax(axis=1).tolist())
    assert kept.fingerprint == fingerprint_split(finished.materials.dataset.load_test(), PHOTO_CLASSES)


def test_the_same_settings_give_the_same_bytes_and_another_seed_others(
    finished: Finished, tiny_settings: TinySettings, tmp_path: Path
) -> None:
    contents, subnets = {}, {}
    for seed in (0, 1):
        materials = make_materials(tiny_settings({"seed": seed}))
        run = start_run(tmp_path, materials, f"seed{seed}")
        for stage in (search, retrain, evaluate_test):
            stage(run, materials, Silent())
        contents[seed] = content(run)
        subnets[seed] = [line["subnet"] for line in read_lines(run.path("search", "candidates.jsonl"))]
    assert contents[0] == content(finished.run)
    assert contents[1].keys() == contents[0].keys()
    same = {name for name in contents[0] if contents[1][name] == contents[0][name]}
    assert same == {"retrain/settings.json"}
    assert subnets[1][:4] != subnets[0][:4]  # the random start already


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5, 0.93, 1.0])
def test_a_search_whose_tail_is_lost_finds_it_again(finished: Finished, copied: Run, share: float) -> None:
    """As after a kill: the record ends anywhere, its last line torn, and candidates are still held by the dead."""
    journal = copied.path("search", "journal.log")
    written = journal.read_bytes()
    journal.write_bytes(written[: round(share * len(written))])
    copied.path("search", "best.json").unlink()
    copied.path("search", "candidates.jsonl").unlink()
    listener = Recorder()
    assert search(copied, finished.materials, listener) == finished.best
    assert content(copied) == content(finished.run)
    assert "training the supernet" not in listener.bars


@pytest.mark.parametrize(
    ("stage", "work", "stop_at"),
    [
        (search, "training the supernet", 1),
        (search, "training the supernet", 2),
        (search, "searching subnets", 3),
        (retrain, "retraining the winner", 0),
        (retrain, "retraining the winner", 1),
        (evaluate_test, "evaluating on the test split", 18),
    ],
)
def test_an_interrupted_stage_goes_on_as_if_nothing_had_been(
    finished: Finished, tmp_path: Path, stage: Callable[..., Any], work: str, stop_at: int
) -> None:
    run = start_run(tmp_path, finished.materials)
    for each in (search, retrain, evaluate_test):
        if each is stage:
            with pytest.raises(KeyboardInterrupt):
                each(run, finished.materials, Recorder({work: stop_at}))
        each(run, finished.materials, Silent())
    assert content(run) == content(finished.run)


def test_inheriting_starts_from_the_supernets_slices(
    finished: Finished, tiny_settings: TinySettings, copied: Run
) -> None:
    """With a learning rate that moves nothing, what comes out is what training started from."""
    shutil.rmtree(copied.path("retrain"))
    still = {"epochs": 1, "learning_rate": 1e-30, "minimum_learning_rate": 0.0, "warmup_epochs": 0}
    materials = make_materials(tiny_settings({"retrain": {**still, "inherit": True}}))
    retrain(copied, materials, Silent())
    model, subnet = load_retrained(copied, materials)
    supernet, validation = supernet_of(finished), materials.dataset.validation
    sliced = slice_trainable_state(supernet, subnet)
    torch.testing.assert_close(model.trainable_state(), sliced, rtol=0, atol=1e-20)
    assert any(lora.b.abs().max() > 1e-3 for lora in model.loras)
    np.testing.assert_allclose(
        subnet_logits(model, subnet, materials, validation),
        subnet_logits(supernet, subnet, materials, validation),
        rtol=1e-5,
        atol=1e-5,
    )

    shutil.rmtree(copied.path("retrain"))
    fresh = make_materials(tiny_settings({"retrain": still}))
    retrain(copied, fresh, Silent())
    model, _ = load_retrained(copied, fresh)
    zeros = [*(lora.b for lora in model.loras), *(adapter.up for adapter in model.adapters)]
    assert (
        max(weight.detach().abs().max().item() for weight in zeros if weight.numel()) < 1e-20
    )  # the backbone's function


def test_class_weights_count_where_the_classes_are_uneven(
    tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "uneven"))
    for path in sorted((folder / "train" / "circle").iterdir())[4:]:
        path.unlink()
    losses = {}
    for kind in ("none", "balanced"):
        changes = {"data.folder": str(folder), "data.class_weights": kind, "search.generations": 0}
        materials = make_materials(tiny_settings(changes))
        run = start_run(tmp_path, materials, kind)
        search(run, materials, Silent())
        losses[kind] = run.read_json("supernet", "losses.json")["losses"]
    assert losses["none"] != losses["balanced"]


@pytest.mark.parametrize(
    ("kind", "guessing"), [("none", (entropy([1, 12, 12]), entropy([2, 18, 18]))), ("balanced", (np.log(3), np.log(3)))]
)
def test_a_weighted_training_that_learned_nothing_is_told_against_weighted_guessing(
    tiny_settings: TinySettings,
    photo_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kind: str,
    guessing: tuple[float, float],
) -> None:
    monkeypatch.setattr(divergence, "_HARDLY_LEARNED", 0.9)  # chance alone may be a little better than guessing
    folder = Path(shutil.copytree(photo_folder, tmp_path / "uneven"))
    for split in ("train", "val"):
        for path in sorted((folder / split / "circle").iterdir())[1:]:
            path.unlink()
    still = {"epochs": 1, "learning_rate": 1e-30, "minimum_learning_rate": 0.0, "warmup_epochs": 0, "batch_size": 64}
    changes = {"data.folder": str(folder), "data.class_weights": kind, "search.generations": 0}
    materials = make_materials(tiny_settings({**changes, "supernet": still, "retrain": still}))
    run, listener = start_run(tmp_path, materials), Recorder()
    search(run, materials, listener)
    retrain(run, materials, listener)
    warnings = [line for line in listener.said if "hardly learned" in line]
    assert [line.split()[2] for line in warnings] == ["supernet", "subnet"]
    told = [float(re.findall(r"that of guessing is ([0-9.]+)\.", line)[0]) for line in warnings]
    assert told == pytest.approx(guessing, abs=1e-3)


def test_a_stage_before_its_turn_names_the_command_to_type(finished: Finished, copied: Run) -> None:
    copied.path("retrain", "model.json").unlink()
    name = re.escape(copied.option)
    with pytest.raises(CommandOrderError, match=rf"to its end\.\nType: noah retrain --resume --run {name}$"):
        evaluate_test(copied, finished.materials, Silent())
    shutil.rmtree(copied.path("retrain"))
    with pytest.raises(CommandOrderError, match=rf"has not been retrained\.\nType: noah retrain --run {name}$"):
        evaluate_test(copied, finished.materials, Silent())
    copied.path("search", "best.json").unlink()
    with pytest.raises(CommandOrderError, match=rf"not finished\.\nFinish it with: noah search --resume --run {name}$"):
        retrain(copied, finished.materials, Silent())
    assert not copied.path("retrain").exists()


def test_a_budget_that_admits_nothing_is_refused_before_training(tiny_settings: TinySettings, tmp_path: Path) -> None:
    materials = make_materials(tiny_settings({"budget.parameters": 100}))
    run = start_run(tmp_path, materials)
    with pytest.raises(EmptySpaceError, match="the cheapest has 1,026"):
        search(run, materials, Silent())
    assert not run.path("supernet").exists()


def test_a_damaged_record_is_told(finished: Finished, copied: Run) -> None:
    journal = copied.path("search", "journal.log")
    journal.write_bytes(b"no record\n" + journal.read_bytes())
    with pytest.raises(RunError, match=r"journal\.log is damaged"):
        search(copied, finished.materials, Silent())


def test_a_search_of_an_older_version_is_told(finished: Finished, copied: Run) -> None:
    copied.path("search", "study.json").unlink()
    with pytest.raises(RunError, match="older version"):
        search(copied, finished.materials, Silent())


@pytest.mark.parametrize("damage", ["{}", '{"subnet": {"lora": [1]}}', "[]", '{"subnet": '])
@pytest.mark.parametrize(
    ("file", "stage"), [("search/best.json", retrain), ("retrain/model.json", evaluate_test)], ids=["best", "model"]
)
def test_a_damaged_result_is_told(
    finished: Finished, copied: Run, file: str, stage: Callable[..., Any], damage: str
) -> None:
    copied.path(file).write_text(damage)
    with pytest.raises(NoahError, match=r"best\.json|model\.json"):
        stage(copied, finished.materials, Silent())


def test_the_log_tells_each_stage_in_order(finished: Finished) -> None:
    events = [(line["stage"], line["event"]) for line in read_lines(finished.run.path("log.jsonl"))]
    assert events == [
        ("supernet", "started"),
        ("supernet", "finished"),
        ("search", "started"),
        ("search", "finished"),
        ("retrain", "started"),
        ("retrain", "finished"),
        ("eval", "finished"),
    ]
    assert open_run(finished.run.folder.parent.parent, None) == finished.run
    assert json.loads(finished.run.path("eval", "test.json").read_text())["total"] == 18
