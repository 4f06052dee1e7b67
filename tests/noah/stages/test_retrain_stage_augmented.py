"""Search and retraining with every augmentation on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from noah.evaluation.accuracy import Score
from noah.progress import Silent
from noah.runs.folder import Run
from noah.stages.retrain_stage import evaluate_test, retrain
from noah.stages.search_stage import search
from tests.conftest import TinySettings
from tests.few_shot import write_few_shot
from tests.noah.tiny_run import Recorder, content, make_materials, start_run
from tests.noah.tiny_training import EVERYTHING

pytestmark = pytest.mark.usefixtures("one_thread")

AUGMENTED = EVERYTHING.model_dump(mode="json")


@pytest.fixture
def augmented(tiny_settings: TinySettings) -> Any:
    def values(changes: Mapping[str, Any] | None = None) -> dict[str, Any]:
        changes = {"data.class_weights": "balanced", **(changes or {})}
        both = {f"{stage}.augmentation": AUGMENTED for stage in ("supernet", "retrain")}
        smooth = {f"{stage}.label_smoothing": 0.1 for stage in ("supernet", "retrain")}
        return tiny_settings({**both, **smooth, **changes})

    return values


@pytest.mark.slow
def test_a_folder_is_learned_above_chance(augmented: Any, tmp_path: Path) -> None:
    listener = Recorder()
    materials = make_materials(augmented({"supernet.epochs": 12, "retrain.epochs": 12}))
    run = start_run(tmp_path, materials)
    best = search(run, materials, listener)
    model = retrain(run, materials, listener)
    test = evaluate_test(run, materials, listener)
    told = [line for line in listener.said if line.startswith("augment")]
    assert told == 2 * ["augment   in this process (on a CPU nearly all the time goes into the network)"]
    assert listener.bars["decoding training images"][-1] == 54
    assert model["settings"]["augmentation"] == AUGMENTED
    for found in (best, test):
        # Of three classes; 18 images have a standard error of 11 %.
        score = Score(found["correct"], found["total"], found["cross_entropy"])
        assert (score.total, score.accuracy) > (17, 0.7)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 2])
def test_what_was_interrupted_goes_on_as_if_nothing_had_been(augmented: Any, tmp_path: Path, workers: int) -> None:
    def finish(name: str, changes: dict[str, Any]) -> tuple[Run, Any]:
        materials = make_materials(augmented(changes))
        return start_run(tmp_path, materials, name), materials

    whole, materials = finish("whole", {})
    for stage in (search, retrain):
        stage(whole, materials, Silent())
    stopped, materials = finish("stopped", {"hardware.augmentation_workers": workers})
    for stage, work in ((search, "training the supernet"), (retrain, "retraining the winner")):
        with pytest.raises(KeyboardInterrupt):
            stage(stopped, materials, Recorder({work: 1}))
        stage(stopped, materials, Silent())
    assert content(stopped) == content(whole)


def test_a_few_shot_set_is_augmented_too(augmented: Any, tmp_path: Path) -> None:
    write_few_shot(tmp_path / "data" / "oxford_pets", shots=(1,))
    data = {"dataset": "oxford_pets", "root": str(tmp_path / "data"), "shots": 1}
    materials = make_materials(augmented({"data": data, "supernet.batch_size": 2}))  # the last batch has one image
    run = start_run(tmp_path, materials)
    search(run, materials, Silent())
    model = retrain(run, materials, Silent())
    assert (model["images"], len(model["losses"])) == (3, 2)


def test_without_augmentation_nothing_is_told_of_it(tiny_settings: TinySettings, tmp_path: Path) -> None:
    listener = Recorder()
    materials = make_materials(tiny_settings({"supernet.augmentation": {"mixup": 0.8}}))
    search(start_run(tmp_path, materials), materials, listener)
    assert listener.said == []


def test_where_the_images_do_not_fit_is_told(augmented: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noah.data.pixels.originals.available_memory", lambda: 20_000)
    listener = Recorder()
    materials = make_materials(augmented({"hardware.augmentation_workers": 1}))
    search(start_run(tmp_path, materials), materials, listener)
    assert listener.said == [
        "augment   in 1 process beside this one, 2 batches ahead each (as set)",
        "training images: Only 2 of 36 images at their own sizes fit into the 10 KiB that they may take: the others "
        "are decoded anew for each batch.",
    ]
