from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noah.backbone.load import Backbone, load_backbone
from noah.data.dataset import Dataset
from noah.data.pixels import pixels as pixels_module
from noah.data.sources.drawn.rendered import rendered_dataset
from noah.data.split import FileSplit
from noah.errors import DatasetNotFoundError, NoahError, RunError, SettingsError, UsageError
from noah.hardware import cores
from noah.prepare.context import build_space, check_same_data, fingerprint, prepare, seed_torch
from noah.progress import Silent
from noah.space.search_space import MAY_BE_ABSENT, PRESETS, quarters
from tests.conftest import PHOTO_CLASSES, TINY_ARCHITECTURE, TinySettings
from tests.noah.tiny_run import Recorder, make_materials, start_run

pytestmark = pytest.mark.usefixtures("one_thread")


def test_everything_is_loaded_as_the_settings_say(tiny_settings: TinySettings, photo_folder: Path) -> None:
    materials = make_materials(tiny_settings({"seed": 4}))
    assert (materials.dataset.name, materials.dataset.classes) == ("shapes", PHOTO_CLASSES)
    assert (len(materials.dataset.train), len(materials.dataset.validation)) == (36, 18)
    assert materials.backbone.image_size == (32, 32)
    assert materials.backbone.preprocessing.resize == "squash"
    assert (materials.space.blocks, materials.space.embed_dim) == (6, 64)
    assert next(materials.backbone.model.parameters()).device == materials.hardware.device == torch.device("cpu")


def test_choices_are_told_always_and_the_data_when_asked(tiny_settings: TinySettings) -> None:
    quiet, loud = Recorder(), Recorder()
    values = tiny_settings({"hardware": {"device": "cpu"}})
    choices = make_materials(values, quiet).hardware.choices
    make_materials(values, loud, tell_data=True)
    assert [line.split()[0] for line in quiet.said] == [choice.what for choice in choices] == ["precision", "threads"]
    told = "\n".join(loud.said)
    assert "data      shapes: 3 classes, 36 training and 18 validation images" in told
    assert f"architecture {TINY_ARCHITECTURE}; 32 x 32 px, squash, bicubic" in told
    assert set(quiet.said) < set(loud.said)


def test_the_normalization_is_told_where_it_is_assumed_or_set(
    tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def told(values: dict[str, object]) -> str:
        recorder = Recorder()
        make_materials(tiny_settings(values), recorder, tell_data=True)
        (line,) = [line for line in recorder.said if line.startswith("backbone")]
        return line.partition("px, squash, ")[2]

    assumed = f"as timm has them for {TINY_ARCHITECTURE}"
    assert told({}) == f"bicubic; mean (0.5, 0.5, 0.5) and std (0.5, 0.5, 0.5) {assumed}"
    mean, std = {"backbone.mean": [0.485, 0.456, 0.406]}, {"backbone.std": [0.25, 0.5, 1]}
    assert told(mean) == (
        f"bicubic; mean (0.485, 0.456, 0.406) as set, std (0.5, 0.5, 0.5) as timm has it for {TINY_ARCHITECTURE}"
    )
    assert told({**mean, **std, "backbone.interpolation": "box"}) == (
        "box; mean (0.485, 0.456, 0.406) as set, std (0.25, 0.5, 1) as set"
    )

    def load(*names: str, **options: Any) -> Backbone:
        return replace(load_backbone(*names, **options), from_file=False)

    monkeypatch.setattr("noah.prepare.context.load_backbone", load)
    assert told({}) == "bicubic"
    assert told(std) == (
        f"bicubic; mean (0.5, 0.5, 0.5) as timm has it for {TINY_ARCHITECTURE}, std (0.25, 0.5, 1) as set"
    )


def test_the_normalization_of_the_settings_is_that_of_the_run(tiny_settings: TinySettings) -> None:
    values = {"backbone.mean": [0.1, 0.2, 0.3], "backbone.std": [0.4, 0.5, 0.6], "backbone.interpolation": "box"}
    kept = make_materials(tiny_settings(values)).facts()["preprocessing"]
    assert {f"backbone.{name}": kept[name] for name in ("mean", "std", "interpolation")} == values


def test_what_a_run_keeps_of_them_survives_the_run_file(tiny_settings: TinySettings, tmp_path: Path) -> None:
    materials = make_materials(tiny_settings())
    description = start_run(tmp_path, materials).description()
    facts = materials.facts()
    assert {key: description[key] for key in facts} == facts
    assert facts["classes"] == list(PHOTO_CLASSES)
    assert facts["data"] == {"train": 36, "validation": 18, "fingerprint": fingerprint(materials.dataset)}
    assert facts["preprocessing"] == materials.backbone.preprocessing.to_json()
    assert facts["space"]["lora"] == {"widths": [1, 5, 10], "depths": [2, 3, 5, 6]}


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"data": {}}, UsageError),
        ({"data.folder": "nowhere"}, DatasetNotFoundError),
        ({"backbone.image_size": 40}, SettingsError),
        ({"space.depths": [3, 7]}, SettingsError),
        ({"hardware.device": "abacus"}, UsageError),
    ],
)
def test_what_cannot_be_had_is_told(
    tiny_settings: TinySettings, values: dict[str, object], error: type[NoahError]
) -> None:
    with pytest.raises(error):
        make_materials(tiny_settings(values))


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_preset_is_taken_on_the_quarters_of_the_depth(tiny_settings: TinySettings, preset: str) -> None:
    materials = make_materials(tiny_settings({"space.preset": preset}))
    for name, module in materials.space.modules.items():
        assert module.widths == PRESETS[preset].get(name, ())
        may_be_absent = (0,) if preset in MAY_BE_ABSENT or not module.widths else ()
        assert module.depths == (*may_be_absent, *(quarters(6) if module.widths else ()))


def test_single_widths_and_depths_replace_those_of_the_preset(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings())
    settings = materials.settings.model_copy(
        update={"space": materials.settings.space.model_copy(update={"lora": (8, 2), "adapter": (), "depths": (1, 6)})}
    )
    modules = build_space(settings, materials.backbone).modules
    assert (modules["prompt"].widths, modules["prompt"].depths) == ((1, 5, 10), (1, 6))
    assert (modules["lora"].widths, modules["lora"].depths) == ((2, 8), (1, 6))
    assert (modules["adapter"].widths, modules["adapter"].depths) == ((), (0,))


def test_the_fingerprint_tells_images_and_labels_apart_but_not_places(
    tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path
) -> None:
    def fingerprint_of(folder: Path) -> str:
        return fingerprint(make_materials(tiny_settings({"data.folder": str(folder)})).dataset)

    original = fingerprint_of(photo_folder)
    moved = Path(shutil.copytree(photo_folder, tmp_path / "elsewhere"))
    assert fingerprint_of(moved) == original
    shutil.rmtree(moved / "test")  # it is not even listed before the test
    assert fingerprint_of(moved) == original
    for path in list((moved / "train" / "square").iterdir()):
        path.rename(path.with_name(f"s{path.name}"))
    renamed = fingerprint_of(moved)
    # The last circle becomes the first square: the same names in the same order.
    (moved / "train" / "circle" / "11.png").rename(moved / "train" / "square" / "11.png")
    relabeled = fingerprint_of(moved)
    (moved / "val" / "circle" / "00.png").unlink()
    assert len({original, renamed, relabeled, fingerprint_of(moved)}) == 4


def test_the_name_of_an_image_may_be_any_bytes(tmp_path: Path) -> None:
    def fingerprint_of(name: bytes) -> str:
        split = FileSplit((tmp_path / os.fsdecode(name),), np.zeros(1, np.int64))
        return fingerprint(Dataset("odd", ("a",), split, split, lambda: split, ()))

    assert len({fingerprint_of(name) for name in (b"caf\xe9.png", b"caf\xe8.png", "caf\xe9.png".encode())}) == 3


def test_the_fingerprint_of_rendered_images_tells_how_they_are_drawn() -> None:
    def fingerprint_of(drawing: int) -> str:
        numbers = np.arange(2000)
        return fingerprint(rendered_dataset("toy", ("a", "b"), numbers, numbers % 2, blank, drawing, ()))

    def blank(number: int) -> np.ndarray:
        return np.zeros((2, 2), np.uint8)

    assert fingerprint_of(1) == fingerprint_of(1) != fingerprint_of(2)


def test_a_run_does_not_go_on_with_other_data(tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "shapes"))
    values = tiny_settings({"data.folder": str(folder)})
    run = start_run(tmp_path / "runs", make_materials(values))
    check_same_data(run, make_materials(values))
    shutil.copy(folder / "train" / "circle" / "00.png", folder / "train" / "circle" / "new.png")
    with pytest.raises(RunError, match="images of shapes are not those that the run shapes/first was started with"):
        check_same_data(run, make_materials(values))


def test_a_run_goes_on_with_as_many_threads_as_it_began_with(
    tiny_settings: TinySettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever else computes on this machine by then; the number of threads may change the last digits."""
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(cores, "_known_processes", lambda: tmp_path / "known")
    monkeypatch.setattr(cores, "usable_cores", lambda *_: cores.Cores(4, "the cores of this machine"))
    values = tiny_settings({"hardware.threads": None})
    materials = make_materials(values)
    assert materials.hardware.threads == 4
    run = start_run(tmp_path / "runs", materials)
    monkeypatch.setattr(cores, "_threads_of_others", lambda _: [4])
    assert make_materials(values).hardware.threads == 2
    again = prepare(run.settings(), Silent(), run=run).hardware
    assert again.threads == 4 and "threads: 4 (as when the run began)" in map(str, again.choices)


def test_another_seed_that_splits_otherwise_counts_as_other_data(
    tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path
) -> None:
    """Where the person has not split the images, the seed does."""
    values = {"data.folder": str(photo_folder / "train")}
    run = start_run(tmp_path, make_materials(tiny_settings(values)))
    with pytest.raises(RunError):
        check_same_data(run, make_materials(tiny_settings({**values, "seed": 1})))


def test_decoding_is_told_where_memory_is_short(tiny_settings: TinySettings, monkeypatch: pytest.MonkeyPatch) -> None:
    materials = make_materials(tiny_settings())
    plenty, short = Recorder(), Recorder()
    assert materials.pixels(materials.dataset.train, "training", plenty).in_memory
    assert plenty.said == []
    assert plenty.bars == {"decoding training images": [36]}
    monkeypatch.setattr(pixels_module, "available_memory", lambda: 1000)
    assert not materials.pixels(materials.dataset.train, "training", short).in_memory
    assert short.said[0].startswith("training images: 36 images of 32 x 32 pixels need 108 KiB, more than")


def test_seeds_of_several_words_are_apart() -> None:
    with torch.random.fork_rng(devices=[]):
        draws: dict[tuple[int, ...], tuple[float, ...]] = {}
        for words in [(0, 1), (0, 2), (1, 2), (1, 1), (2, 1), (0, 1)]:
            seed_torch(*words)
            draw = tuple(torch.rand(3).tolist())
            assert draws.setdefault(words, draw) == draw
        assert len(set(draws.values())) == 5


def test_a_listener_may_be_silent(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings(), Silent(), tell_data=True)
    assert replace(materials) == materials
