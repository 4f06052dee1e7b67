"""Which sides images stay on when a run goes on from another, for test splits that are drawn and that are given."""

from __future__ import annotations

import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noah.data.split import Split, concatenate, groups_of, select
from noah.errors import DataError, RunError
from noah.prepare.context import Materials
from noah.prepare.earlier import (
    EARLIER_FILE,
    Earlier,
    describe_head,
    gather_earlier,
    read_earlier,
    with_earlier,
    write_earlier,
)
from noah.progress import Silent
from noah.runs.folder import RUN_FILE, Run
from noah.runs.kept_predictions import KeptPredictions, write_predictions
from noah.runs.run_images import hash_images, pack_hashes, unpack_hashes
from noah.settings.settings import DataSettings
from noah.stages.retrain_stage import compare_with_earlier
from tests.conftest import TinySettings
from tests.noah.tiny_run import make_materials


def hashes(split: Split, materials: Materials) -> tuple[str, ...]:
    return hash_images(split, materials.settings.data)


def earlier_of(trained: tuple[str, ...], tested: tuple[str, ...] = ()) -> Earlier:
    return Earlier("a/b", ("x", "y"), pack_hashes(trained), pack_hashes(tested), (True,) * len(tested))


@pytest.fixture
def drawn(tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path) -> Materials:
    """The photographs without splits."""
    return make_materials(
        tiny_settings({"data.folder": str(shutil.copytree(photo_folder / "train", tmp_path / "all"))})
    )


@pytest.mark.parametrize("seed", range(3))
def test_drawn_splits_are_divided_among_new_images_alone(drawn: Materials, seed: int) -> None:
    data = drawn.dataset
    everything = concatenate(data.full_train, data.load_test())
    order = np.random.default_rng(seed).permutation(len(everything))
    trained, tested = (hashes(select(everything, part), drawn) for part in (order[:14], order[14:18]))
    kept, notes = with_earlier(drawn, earlier_of(trained, tested))
    learned, test = (set(hashes(split, drawn)) for split in (kept.full_train, kept.load_test()))
    assert not learned & test
    assert learned | test == set(hashes(everything, drawn))
    assert set(trained) <= learned
    assert set(tested) <= test
    new = set(hashes(everything, drawn)) - set(trained) - set(tested)
    assert test - set(tested) == new & set(hashes(data.load_test(), drawn))
    assert set(hashes(kept.validation, drawn)) <= set(hashes(data.validation, drawn))
    assert notes == [
        "Of 14 images that a/b was trained on, 14 are there and not tested on.",
        "Of 4 images that it was tested on, 4 are there and tested on again.",
    ]


def test_a_given_test_split_loses_what_was_trained_on(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings())
    data = materials.dataset
    test = data.load_test()
    trained = (*hashes(data.train, materials)[1:], *hashes(test, materials)[:2])
    tested = (*hashes(data.train, materials)[:1], *hashes(test, materials)[2:5])
    kept, notes = with_earlier(materials, earlier_of(trained, tested))
    assert hashes(kept.load_test(), materials) == (*hashes(test, materials)[2:], *tested[:1])
    assert hashes(kept.train, materials) == hashes(data.train, materials)[1:]
    assert "1 image that it was tested on" in notes[1]


def test_a_given_test_split_is_not_listed_before(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings())
    unlisted = replace(materials.dataset, load_test=lambda: pytest.fail("the test split was listed"))
    with_earlier(replace(materials, dataset=unlisted), earlier_of(hashes(materials.dataset.train, materials)))


def test_other_images_are_refused(drawn: Materials) -> None:
    with pytest.raises(DataError, match="holds none of the images that a/b was trained on"):
        with_earlier(drawn, earlier_of(("0" * 16,)))


def test_an_image_is_known_wherever_its_folder_is(drawn: Materials, tmp_path: Path) -> None:
    moved = shutil.copytree(str(drawn.settings.data.folder), tmp_path / "deep" / "er")
    settings = drawn.settings.data.model_copy(update={"folder": str(moved)})
    again = make_materials({**drawn.settings.model_dump(mode="json"), "data": settings.model_dump(mode="json")})
    assert hashes(again.dataset.train, again) == hashes(drawn.dataset.train, drawn)
    assert len(set(hashes(drawn.dataset.full_train, drawn))) == len(drawn.dataset.full_train)


def test_files_of_the_same_name_in_different_splits_are_different_images(tiny_settings: TinySettings) -> None:
    materials = make_materials(tiny_settings())
    train, validation = (hashes(split, materials) for split in (materials.dataset.train, materials.dataset.validation))
    assert not set(train) & set(validation)


def test_names_of_a_dataset_are_their_own(drawn: Materials) -> None:
    train = drawn.dataset.train
    assert hash_images(train, DataSettings(dataset="digits")) != hashes(train, drawn)


def test_the_head_in_words() -> None:
    told = describe_head(earlier_of(()), ("a", "y"))
    assert told == "1 row kept by the names of their classes; fresh ones for a; gone: x"


@pytest.mark.parametrize("text", ["", "0" * 16, "12ab" * 8])
def test_hashes_are_read_back(text: str) -> None:
    assert pack_hashes(unpack_hashes(text)) == text


def described(folder: Path, given: dict[str, str] | None) -> Run:
    """A run folder with nothing but run.yaml."""
    folder.mkdir(exist_ok=True)
    (folder / RUN_FILE).write_text(json.dumps({"settings": {}, "given": given}))
    return Run(folder)


def test_a_run_without_a_list_of_its_images_is_told_with_what_to_type(tmp_path: Path) -> None:
    run = Run(tmp_path / "my photos" / "first")
    run.write_json({}, "retrain", "model.json")
    with pytest.raises(RunError, match="kept no list of its images") as caught:
        gather_earlier(run, Silent())
    assert shlex.split(caught.value.hint)[-4:-2] == ["--subnet", str(run.path("retrain", "model.json"))]


def test_a_run_that_lost_its_record_does_not_begin_by_itself(tmp_path: Path) -> None:
    """As one that was killed while it began."""
    assert read_earlier(described(tmp_path, {"spelling": "lora:2"})) is None
    run = described(tmp_path, {"spelling": "lora:2", "earlier": "photos/first"})
    with pytest.raises(RunError, match=r"earlier\.json is missing, .* of photos/first that") as caught:
        read_earlier(run)
    assert "noah retrain --from photos/first --data FOLDER" in caught.value.hint


def trained_run(
    folder: Path,
    images: dict[str, tuple[str, ...]],
    *,
    tested: dict[str, bool] | None = None,
    before: Earlier | None = None,
    inherit: bool = False,
) -> Run:
    """What `gather_earlier` reads of a run: lists of images, and what was right of those it was tested on."""
    run = described(folder, {"spelling": "lora:2"})
    run.write_json({"settings": {"inherit": inherit}}, "retrain", "model.json")
    run.write_json({part: pack_hashes(hashes) for part, hashes in images.items()}, "images.json")
    if before is not None:
        write_earlier(run, before, {})
    if tested is not None:
        labels = np.zeros(len(tested), np.int64)
        right = np.array(list(tested.values()))
        predictions = KeptPredictions(
            "0" * 64, labels, np.where(right, 0, 1).astype(np.int64), np.full(len(tested), 0.5), tuple(tested)
        )
        write_predictions(run, predictions, "test.json")
    return run


def number(*values: int) -> tuple[str, ...]:
    return tuple(f"{value:016x}" for value in values)


def test_test_images_are_known_along_a_chain(tmp_path: Path) -> None:
    """Of a run, the run after it, which was tested on some of them or on nothing, and the one after that."""
    images = {"train": number(1, 2), "validation": number(3)}
    a, b, c, d = number(11, 12, 13, 14)
    first = gather_earlier(trained_run(tmp_path / "a", images, tested={a: True, b: False, c: True}), Silent())
    assert (first.tested_right, first.tested_before) == ({a: True, b: False, c: True}, 0)
    more = {"train": number(1, 2, 4), "validation": number(3, 5)}
    untested = gather_earlier(trained_run(tmp_path / "b", more, before=first), Silent())
    assert (untested.tested_right, untested.tested_before) == (first.tested_right, 3)
    some = gather_earlier(
        trained_run(tmp_path / "c", more, before=untested, tested={b: True, c: True, d: False}), Silent()
    )
    assert (some.tested_right, some.tested_before) == ({a: True, b: True, c: True, d: False}, 1)
    assert some.trained_hashes == set(number(1, 2, 3, 4, 5))
    read = Earlier.from_json(json.loads(json.dumps(some.to_json())))
    assert read == some
    predictions = KeptPredictions("", np.zeros(2, np.int64), np.array([0, 1]), np.zeros(2), (a, b))
    assert compare_with_earlier(some, predictions) == {
        "run": f"{some.run} or a run before it",
        "images": 2,
        "right_before": 2,
        "right_after": 1,
    }


def test_what_no_weights_have_seen_is_told_apart_along_a_chain(tmp_path: Path) -> None:
    images = {"train": number(1, 2), "validation": number(3, 4), "held_out": number(2, 4)}
    first = gather_earlier(trained_run(tmp_path / "a", images), Silent())
    assert first.seen_hashes == set(number(1, 3))
    after = {"train": number(1, 2, 5), "validation": number(3, 4, 6), "held_out": number(4, 6)}
    second = gather_earlier(trained_run(tmp_path / "b", after, before=first), Silent())
    assert second.seen_hashes == set(number(1, 2, 3, 5))
    without = {part: hashes for part, hashes in images.items() if part != "held_out"}
    everything = gather_earlier(trained_run(tmp_path / "c", without), Silent())
    assert everything.seen_hashes == everything.trained_hashes == set(number(1, 2, 3, 4))
    inherited = gather_earlier(trained_run(tmp_path / "d", images, inherit=True), Silent())
    assert inherited.seen_hashes == set(number(1, 2, 3))


@pytest.fixture
def grouped(tiny_settings: TinySettings, photo_folder: Path, tmp_path: Path) -> Materials:
    """Twelve series of three photographs of one class, without splits."""
    folder = Path(shutil.copytree(photo_folder / "train", tmp_path / "series"))
    for path in sorted(folder.glob("*/*")):
        path.rename(path.with_name(f"series{int(path.stem) // 3}_{path.name}"))
    return make_materials(tiny_settings({"data.folder": str(folder), "data.groups": r"(\w+/series\d+)"}))


@pytest.mark.parametrize("seed", range(3))
def test_groups_go_where_their_known_images_are(grouped: Materials, seed: int) -> None:
    """Of nine of the series, one image is known: of six it was trained on, of three it was tested on."""
    data = grouped.dataset
    everything = concatenate(data.full_train, data.load_test())
    groups = np.array(groups_of(everything))
    series = np.random.default_rng(seed).permutation(np.unique(groups))
    firsts = [int(np.flatnonzero(groups == name)[seed]) for name in series[:9]]
    trained, tested = (hashes(select(everything, np.array(part)), grouped) for part in (firsts[:6], firsts[6:]))
    kept, notes = with_earlier(grouped, earlier_of(trained, tested))
    learned, test = (set(groups_of(split) or ()) for split in (kept.full_train, kept.load_test()))
    assert not learned & test
    assert set(series[:6]) <= learned and set(series[6:9]) <= test
    assert len(kept.full_train) + len(kept.load_test()) == len(everything)
    assert "12 new images of groups that it was trained on stay with them." in notes
    assert "6 new images of groups that it was tested on stay with them." in notes


def test_a_group_that_is_known_on_both_sides_is_refused(grouped: Materials) -> None:
    everything = concatenate(grouped.dataset.full_train, grouped.dataset.load_test())
    groups = np.array(groups_of(everything))
    torn = np.unique(groups)[:7]
    one, other = ([int(np.flatnonzero(groups == name)[place]) for name in torn] for place in (0, 2))
    known = earlier_of(*(hashes(select(everything, np.array(part)), grouped) for part in (one, other)))
    with pytest.raises(DataError, match=r"cannot stay on one side: circle/series0, .* and 2 more\."):
        with_earlier(grouped, known)


def test_rows_are_known_by_their_content(tiny_settings: TinySettings, tmp_path: Path) -> None:
    """In what the library `datasets` has saved, an image has no name but its number, and rows come in between."""
    datasets = pytest.importorskip("datasets", reason="saves with the library datasets")
    features = datasets.Features(
        image=datasets.Image(), label=datasets.ClassLabel(names=["dark", "bright"]), group=datasets.Value("string")
    )

    def load(grays: list[int]) -> Materials:
        columns = {
            "image": [Image.fromarray(np.full((16, 16, 3), gray, np.uint8)) for gray in grays],
            "label": [int(gray > 100) for gray in grays],
            "group": [None] * len(grays),
        }
        shutil.rmtree(tmp_path / "rows", ignore_errors=True)
        datasets.Dataset.from_dict(columns, features=features).save_to_disk(tmp_path / "rows")
        return make_materials(tiny_settings({"data.folder": str(tmp_path / "rows")}))

    def grays(split: Split) -> set[int]:
        return {split.open(index).getpixel((0, 0))[0] for index in range(len(split))}  # type: ignore[index]  # RGB

    first = load([*range(0, 100, 8), *range(108, 200, 8)])
    data = first.dataset
    trained, tested = data.full_train, data.load_test()
    known = earlier_of(hashes(trained, first), hashes(tested, first))
    kept, _ = with_earlier(load([*range(1, 200, 9), *range(0, 100, 8), *range(108, 200, 8)]), known)
    assert grays(trained) <= grays(kept.full_train)
    assert grays(tested) <= grays(kept.load_test())
    assert not grays(kept.full_train) & grays(kept.load_test())


def test_a_copy_of_what_was_trained_on_is_not_tested_on(drawn: Materials) -> None:
    everything = concatenate(drawn.dataset.full_train, drawn.dataset.load_test())
    both = hashes(select(everything, np.arange(4)), drawn)
    kept, _ = with_earlier(drawn, earlier_of(both, both[:2]))
    assert set(both) <= set(hashes(kept.full_train, drawn))


@pytest.mark.parametrize("damaged", ["x", {"run": "a"}, {"run": "a", "classes": ["b"], "trained": "12"}])
def test_a_damaged_record_is_refused(tmp_path: Path, damaged: object) -> None:
    run = described(tmp_path, None)
    assert read_earlier(run) is None
    run.write_json(damaged, EARLIER_FILE)
    with pytest.raises(RunError, match="is damaged"):
        read_earlier(run)
