"""What the final training leaves out: nothing by default, else two parts that hold every class and share no image."""

from __future__ import annotations

import shutil
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noah.data.split import Split, select, with_groups
from noah.errors import DataError, RunError
from noah.prepare.context import Materials
from noah.prepare.forecast import forecast
from noah.prepare.held_out import (
    calibration_images,
    describe_held_out,
    final_images,
    gate_images,
    images_of_finalists,
    temperature_images,
    trained_on,
)
from noah.prepare.new_run import start_run as begin_run
from noah.progress import Silent
from noah.settings.layers import Layer, resolve
from noah.space.budget import Budget
from noah.stages.retrain_stage import load_retrained, retrain
from tests.conftest import TinySettings
from tests.noah.tiny_run import Recorder, content, make_materials

pytestmark = pytest.mark.usefixtures("one_thread")


def names(split: Split) -> list[str]:
    return [split.name(index) for index in range(len(split))]


def test_by_default_nothing_is_left_out_and_gates_say_what_they_measure_on(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings())
    final = final_images(materials)
    assert final.held_out is None
    assert names(final.training) == names(materials.dataset.full_train)
    split, told = gate_images(materials)
    assert (split, told) == (
        materials.dataset.validation,
        "18 validation images of shapes, which it was trained on",
    )
    assert calibration_images(materials) is materials.dataset.train


def test_images_that_were_not_trained_on_are_not_said_to_be(tiny_settings: TinySettings) -> None:
    """As of a few-shot set, whose shots alone are trained on."""
    materials = make_materials(tiny_settings())
    data = materials.dataset
    shots = replace(materials, dataset=replace(data, retrain=data.train))
    assert gate_images(shots)[1] == "18 validation images of shapes, which it was not trained on"
    some = replace(materials, dataset=replace(data, retrain=select(data.full_train, np.arange(36 + 5))))
    assert trained_on(data.validation, some) == ", of which it was trained on 5"


@pytest.mark.parametrize(("share", "each"), [(0.01, 1), (0.2, 2), (1 / 3, 3), (0.99, 8)])
def test_both_parts_hold_every_class_and_share_no_image(tiny_settings: TinySettings, share: float, each: int) -> None:
    materials = make_materials(tiny_settings({"retrain.hold_out": share}))
    final = final_images(materials)
    assert final.held_out is not None
    parts = [final.training, final.held_out.stopping, final.held_out.gates]
    assert sorted(chain.from_iterable(map(names, parts))) == sorted(names(materials.dataset.full_train))
    assert all(set(part.labels.tolist()) == {0, 1, 2} for part in parts)
    assert np.bincount(final.held_out.stopping.labels).tolist() == [each] * 3
    split, told = gate_images(materials)
    assert names(split) == names(final.held_out.gates)
    assert told == f"{len(split)} images of shapes that were held out of its training"
    assert names(calibration_images(materials)) == names(final.training)
    again = final_images(make_materials(tiny_settings({"retrain.hold_out": share})))
    assert describe_held_out(again, materials) == describe_held_out(final, materials)
    other = final_images(make_materials(tiny_settings({"retrain.hold_out": share, "seed": 1})))
    assert describe_held_out(other, materials) != describe_held_out(final, materials)


def test_groups_stay_in_one_part(tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path) -> None:
    """Twelve series of three photographs of one class, each whole in the training set or in one of the two parts."""
    folder = Path(shutil.copytree(photo_folder / "train", tmp_path / "series" / "train"))
    for path in sorted(folder.glob("*/*")):
        path.rename(path.with_name(f"series{int(path.stem) // 3}_{path.name}"))
    changes = {"retrain.hold_out": 0.6, "data.folder": str(folder.parent), "data.groups": r"(\w+/series\d+)"}
    materials = make_materials(tiny_settings(changes))
    final = final_images(materials)
    assert final.held_out is not None
    parts = [final.training, final.held_out.stopping, final.held_out.gates]
    assert sum(map(len, parts)) == 36 and all(map(len, parts))
    series = [{name.rpartition("_")[0] for name in names(part)} for part in parts]
    assert sum(map(len, series)) == len(set.union(*series)) == 12
    assert set(final.training.labels.tolist()) == {0, 1, 2}
    few = with_groups(final.training, [str(label) for label in final.training.labels.tolist()])
    with pytest.raises(DataError, match=r"hold_out=0\.6 needs groups to learn from, to stop by and for gates"):
        final_images(replace(materials, dataset=replace(materials.dataset, retrain=few)))


def seen_but(materials: Materials, unseen: np.ndarray) -> Materials:
    """As of a run whose weights have seen all training and validation images but those at these places."""
    everything = materials.dataset.full_train
    seen = frozenset(names(everything)) - {everything.name(index) for index in unseen.tolist()}
    return replace(materials, dataset=replace(materials.dataset, seen=seen))


@pytest.mark.parametrize("unseen", [2, 5, 11, 40])
def test_only_what_the_weights_have_not_seen_is_held_out(tiny_settings: TinySettings, unseen: int) -> None:
    """18 images of three classes would be held out of 54."""
    places = np.random.default_rng(unseen).permutation(54)[:unseen]
    materials = seen_but(make_materials(tiny_settings({"retrain.hold_out": 1 / 3})), places)
    final = final_images(materials)
    assert final.held_out is not None
    parts = [final.training, final.held_out.stopping, final.held_out.gates]
    assert sorted(chain.from_iterable(map(names, parts))) == sorted(names(materials.dataset.full_train))
    assert not materials.dataset.seen & set(names(final.held_out.both))
    of_class = np.bincount(materials.dataset.full_train.labels[places], minlength=3)
    held = np.minimum(of_class, 6).sum()
    assert len(final.held_out.both) == held
    assert abs(len(parts[1]) - len(parts[2])) <= 1
    few = f"{held}, where retrain.hold_out=0.333333 asks for 18: the weights that it starts from have seen all but "
    assert final.note.startswith(few if held < 18 else "") and bool(final.note) == (held < 18)
    split, what = temperature_images(materials)
    assert split is not None and names(split) == names(final.held_out.both)
    assert what == "images held out of its training"


@pytest.mark.parametrize("unseen", [0, 1])
def test_where_the_weights_have_seen_everything_nothing_is_held_out(tiny_settings: TinySettings, unseen: int) -> None:
    materials = seen_but(make_materials(tiny_settings({"retrain.hold_out": 1 / 3})), np.arange(unseen))
    final = final_images(materials)
    assert final.held_out is None
    assert names(final.training) == names(materials.dataset.full_train)
    assert final.note.startswith("none, where retrain.hold_out=0.333333 asks for 18: the weights that it starts from ")
    assert temperature_images(materials) == (None, f"held out: {final.note}")
    few = replace(materials, dataset=replace(materials.dataset, retrain=materials.dataset.train))
    assert trained_on(materials.dataset.validation, few) == ", which it was trained on"


def test_groups_of_which_the_weights_have_seen_an_image_are_not_held_out(
    tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(photo_folder / "train", tmp_path / "series" / "train"))
    for path in sorted(folder.glob("*/*")):
        path.rename(path.with_name(f"series{int(path.stem) // 3}_{path.name}"))
    changes = {"retrain.hold_out": 0.6, "data.folder": str(folder.parent), "data.groups": r"(\w+/series\d+)"}
    materials = make_materials(tiny_settings(changes))
    everything = materials.dataset.full_train
    series = np.array([name.rpartition("_")[0] for name in names(everything)])
    for count in (2, 5):
        new = np.unique(series)[-count:]
        seen = ~np.isin(series, new)
        torn = np.flatnonzero(seen)[::3]  # unseen images of series of which others were seen
        some = seen_but(materials, np.concatenate([np.flatnonzero(~seen), torn]))
        final = final_images(some)
        assert final.held_out is not None
        assert {name.rpartition("_")[0] for name in names(final.held_out.both)} <= set(new)
        assert final.note
    none = final_images(seen_but(materials, np.flatnonzero(series == series[0])))
    assert none.held_out is None and none.note.startswith("none, ")


@pytest.mark.parametrize("subnet", [None, "lora:2"])
def test_too_few_images_of_a_class_are_told_before_there_is_a_run(
    tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path, subnet: str | None
) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "few"))
    for part in ("train", "val"):
        for path in sorted((folder / part / "circle").iterdir())[1:]:
            path.unlink()
    values = tiny_settings({"retrain.hold_out": 0.1, "data.folder": str(folder)})
    settings, origins = resolve([Layer(source="test", values=values)])
    with pytest.raises(DataError, match=r"hold_out=0\.1 needs 3 images of every class, .*: circle has 2\.") as caught:
        begin_run(tmp_path / "runs", settings, origins, Silent(), name=None, subnet=subnet)
    assert "--set retrain.hold_out=0" in caught.value.hint
    assert not (tmp_path / "runs").exists()


def test_classes_with_too_few_images_beyond_the_first_are_counted(
    tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("noah.prepare.held_out._NAMED", 1)
    materials = make_materials(tiny_settings({"retrain.hold_out": 0.1}))
    whole = materials.dataset.full_train
    few = select(whole, np.unique(whole.labels, return_index=True)[1])
    with pytest.raises(DataError, match=r"for gates: circle has 1 and 2 more have too few\."):
        final_images(replace(materials, dataset=replace(materials.dataset, retrain=few)))


TAUGHT = {"search.rerank": 2, "retrain.teachers": "finalists"}


@pytest.mark.parametrize("changes", [TAUGHT, {**TAUGHT, "search.rerank": 0}, {"search.rerank": 2}, {}])
def test_finalists_do_without_what_is_held_out_from_a_winner_that_they_teach(
    tiny_settings: TinySettings, changes: dict[str, Any]
) -> None:
    materials = make_materials(tiny_settings({"retrain.hold_out": 0.25, **changes}))
    learned, train = images_of_finalists(materials), materials.dataset.train
    held_out = final_images(materials).held_out
    assert held_out is not None
    if changes is not TAUGHT:
        assert names(learned) == names(train)
        return
    assert {*names(learned)} == {*names(train)} - {*names(held_out.both)}
    assert 0 < len(learned) < len(train)


def test_a_class_of_which_finalists_would_see_no_image_is_told(tiny_settings: TinySettings) -> None:
    """What is held out leaves some of each class, of training and validation images together."""
    materials = make_materials(tiny_settings({"retrain.hold_out": 0.25, **TAUGHT}))
    held_out = final_images(materials).held_out
    assert held_out is not None
    gone, train = {*names(held_out.both)}, materials.dataset.train
    left = [i for i in range(len(train)) if train.labels[i] != 1 or train.name(i) in gone]
    everything = materials.dataset.full_train
    dataset = replace(materials.dataset, train=select(train, np.array(left)), retrain=everything)
    few = replace(materials, dataset=dataset)
    with pytest.raises(DataError, match=r"hold_out=0\.25 leaves the finalists.* no training image of square\.") as told:
        images_of_finalists(few)
    assert "--set retrain.teachers=none" in told.value.hint


def test_the_forecast_counts_what_is_trained_on(tiny_settings: TinySettings) -> None:
    made = forecast(make_materials(tiny_settings({"retrain.hold_out": 1 / 3})), Budget(), Silent())
    assert made.retrain is not None
    assert (made.retrain.steps, made.retrain.images) == (2 * 5, 2 * 36)


def test_the_final_training_leaves_them_out_and_goes_on_with_the_same(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = tiny_settings({"retrain.hold_out": 1 / 3, "retrain.epochs": 3})
    settings, origins = resolve([Layer(source="test", values=values)])
    runs = {}
    for name in ("whole", "stopped"):
        runs[name], materials = begin_run(tmp_path, settings, origins, Silent(), name=name, subnet="lora:2")
    listener = Recorder()
    model = retrain(runs["whole"], materials, listener)
    assert listener.said[0] == "held out  9 images to stop by and 9 for gates, of 54"
    assert listener.said[1].startswith("softmax   temperature ")
    assert len(listener.said) == 2
    final = final_images(materials)
    described = describe_held_out(final, materials)
    assert (model["images"], model["held_out"]) == (36, described)
    assert runs["whole"].read_json("retrain", "held_out.json") == described
    with pytest.raises(KeyboardInterrupt):
        retrain(runs["stopped"], materials, Recorder({"training the subnet": 1}))
    retrain(runs["stopped"], materials, Silent())
    assert content(runs["stopped"]) == content(runs["whole"])

    other = make_materials({**values, "seed": 1})
    for act in (retrain, load_retrained):
        with pytest.raises(RunError, match="left out other images"):
            act(runs["whole"], other, Silent()) if act is retrain else act(runs["whole"], other)


def test_without_it_a_run_holds_no_word_of_it(tiny_settings: TinySettings, tmp_path: Path) -> None:
    materials = make_materials(tiny_settings())
    run, _ = begin_run(tmp_path, materials.settings, {}, Silent(), name="first", subnet="lora:2")
    assert "held_out" not in retrain(run, materials, Silent())
    assert not run.path("retrain", "held_out.json").exists()
