from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from export.predict.image_batches import read_ahead
from noah.data.dataset import Dataset
from noah.data.decoding import Decoding
from noah.data.intake import AS_LOADED, DamagePolicy, Intake, judge, look, open_test, settle, unseen, without
from noah.data.pixels.pixels import load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.split import FileSplit
from noah.data.survey import DamagedImage
from noah.errors import DataError, UnreadableImageError
from noah.settings.settings import DataSettings
from tests.noah.data.test_deep import deep_png

COLORS = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
SMALL = Preprocessing(8, 8, "squash", 1.0, "bilinear", (0, 0, 0), (1, 1, 1))


def cut_jpeg(path: Path) -> None:
    Image.fromarray(COLORS).save(path, "JPEG")
    path.write_bytes(path.read_bytes()[:-300])


def clear_png(path: Path) -> None:
    image = Image.fromarray(COLORS).convert("RGBA")
    image.putalpha(Image.fromarray(COLORS[..., 0]))
    image.save(path)


def deep(path: Path, largest: int = 4095) -> None:
    path.write_bytes(deep_png((COLORS.astype(np.uint32) * largest // 255).astype(np.uint16)))


def write(folder: Path, count: int = 10, **unusual: Any) -> list[Path]:
    """So many files in a new folder, of which some are written by other functions: number 2 by `at_2`."""
    folder.mkdir(parents=True)
    for number in range(count):
        make = unusual.get(f"at_{number}")
        if make is None:
            Image.fromarray(COLORS + np.uint8(number)).save(folder / f"{number}.png")
        else:
            make(folder / f"{number}.png")
    return sorted(folder.iterdir())


def broken(path: Path) -> None:
    path.write_bytes(b"no image")


def split_of(paths: list[Path]) -> FileSplit:
    return FileSplit(tuple(paths), np.arange(len(paths), dtype=np.int64) % 2)


def dataset_of(train: list[Path], validation: list[Path], retrain: list[Path] | None = None) -> Dataset:
    last = None if retrain is None else split_of(retrain)
    return Dataset("photos", ("a", "b"), split_of(train), split_of(validation), lambda: split_of(train), (), last)


def settled(dataset: Dataset, listing: Path | None = None, **settings: Any) -> Intake:
    return settle(dataset, look(dataset), DataSettings(**settings), listing)


def names(split: Any) -> list[str]:
    return [Path(split.name(index)).stem for index in range(len(split))]


def test_the_default_repairs_and_leaves_out_one_in_a_hundred(tmp_path: Path) -> None:
    train = write(tmp_path / "train", 190, at_7=cut_jpeg, at_8=broken)
    dataset = dataset_of(train, write(tmp_path / "val"))
    intake = settled(dataset)
    assert [(entry.part, Path(entry.image.name).stem, entry.done) for entry in intake.listed] == [
        ("train", "7", "repaired"),
        ("train", "8", "left out"),
    ]
    kept = intake.apply(dataset)
    assert names(kept.train) == [name for name in names(dataset.train) if name != "8"]
    assert kept.train.labels.tolist() == [n for i, n in enumerate(dataset.train.labels) if train[i].stem != "8"]
    assert kept.train.open(names(kept.train).index("7")).size == (40, 48)
    assert "1 of 200 images end too early" in intake.notes[0] and "7.png" in intake.notes[0]
    assert "1 of 200 images cannot be read and are left out; up to 1 % may be" in intake.notes[1]


def test_more_than_the_share_stops_and_lists_all(tmp_path: Path) -> None:
    train = write(tmp_path / "train", 20, **{f"at_{n}": broken for n in range(3, 10)}, at_11=cut_jpeg)
    listing = tmp_path / "runs" / "photos-damaged.csv"
    with pytest.raises(UnreadableImageError) as caught:
        settled(dataset_of(train, write(tmp_path / "val")), listing)
    lines = caught.value.problem.splitlines()
    assert lines[0] == "7 of 30 images cannot be read, which is 23.3 %; up to 1 % may be left out:"
    assert len(lines) == 7 and lines[-1] == "  and 2 more"
    assert str(listing) in caught.value.hint and "--set data.damaged_share=0.24" in caught.value.hint
    with listing.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and {row["done"] for row in rows} == {"refused"} and all(row["reason"] for row in rows)
    assert len(settled(dataset_of(train, write(tmp_path / "again")), damaged_share=0.24).listed) == 8


@pytest.mark.parametrize(
    ("settings", "policy"),
    [
        ({}, DamagePolicy(True, 0.01)),
        ({"damaged": "stop"}, DamagePolicy(False, 0)),
        ({"damaged": "repair"}, DamagePolicy(True, 0)),
        ({"damaged": "skip"}, DamagePolicy(False, 0.1)),
        ({"damaged": "skip", "damaged_share": 0.5}, DamagePolicy(False, 0.5, share_is_set=True)),
        ({"damaged_share": 0.5}, DamagePolicy(True, 0.5, share_is_set=True)),
    ],
)
def test_what_the_settings_mean(settings: dict[str, Any], policy: DamagePolicy) -> None:
    assert DamagePolicy.of(DataSettings(**settings)) == policy


@given(st.lists(st.booleans(), max_size=30), st.integers(0, 100), st.booleans(), st.floats(0, 1))
def test_no_more_is_left_out_than_may_be(repairable: list[bool], whole: int, repair: bool, share: float) -> None:
    damaged = [DamagedImage(index, str(index), "broken.", can) for index, can in enumerate(repairable)]
    total, policy = len(damaged) + whole, DamagePolicy(repair, share)
    lost = sum(not (repair and can) for can in repairable)
    try:
        listed = judge({"train": damaged}, total, policy)
    except UnreadableImageError:
        assert Fraction(lost, total) > share
        return
    assert lost == 0 or lost / total <= share
    assert [entry.image for entry in listed] == damaged
    assert sum(entry.done == "left out" for entry in listed) == lost


@pytest.mark.parametrize(("lost", "total"), [(29, 100), (57, 100), (58, 100), (7, 30), (1, 3), (30, 30)])
def test_the_share_that_is_suggested_is_enough(lost: int, total: int) -> None:
    damaged = {"train": [DamagedImage(index, str(index), "broken.") for index in range(lost)]}
    with pytest.raises(UnreadableImageError) as caught:
        judge(damaged, total, DamagePolicy.of(DataSettings(damaged="skip")))
    suggested = re.search(r"--damaged skip --set data.damaged_share=(\S+) leaves them out", caught.value.hint)
    assert suggested is not None
    settings = DataSettings(damaged="skip", damaged_share=float(suggested[1]))
    assert len(judge(damaged, total, DamagePolicy.of(settings))) == lost


@pytest.mark.parametrize("damaged", [None, "stop", "skip", "repair"])
@pytest.mark.parametrize("share", [None, 0.001, 0.02])
@pytest.mark.parametrize("lost", [3, 9, 30])
def test_what_the_hint_says_works(damaged: Any, share: float | None, lost: int) -> None:
    if share is None and damaged == "skip" and lost < 30:
        return  # nothing is refused
    images = {"train": [DamagedImage(index, str(index), "broken.") for index in range(lost)]}
    with pytest.raises(UnreadableImageError) as caught:
        judge(images, 100, DamagePolicy.of(DataSettings(damaged=damaged, damaged_share=share)))
    hint = re.search(r"--damaged skip( --set data\.damaged_share=(\S+))? leaves", caught.value.hint)
    assert (hint is None) == (share is None and lost == 30 and damaged in ("stop", "repair"))
    if hint is not None:
        typed = float(hint[2]) if hint[1] else share
        assert len(judge(images, 100, DamagePolicy.of(DataSettings(damaged="skip", damaged_share=typed)))) == lost


def test_a_split_of_its_own_for_the_last_training_loses_the_same_images(tmp_path: Path) -> None:
    train = write(tmp_path / "train", 10, at_3=broken)
    other = write(tmp_path / "more", 4, at_1=broken)
    dataset = dataset_of(train, write(tmp_path / "val"), [*train[::-1], *other])
    intake = settled(dataset, damaged="skip")
    assert [entry.part for entry in intake.listed] == ["train", "retrain"]
    kept = intake.apply(dataset)
    assert "3" not in names(kept.train) and kept.retrain is not None
    assert len(kept.retrain) == 12 and names(kept.full_train)[:9] == names(kept.train)[::-1]


def test_what_would_empty_a_class_or_a_split_is_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "train", 20, **{f"at_{n}": broken for n in range(20)})
    good = write(tmp_path / "val", 20)
    half = [path if n % 2 else good[n] for n, path in enumerate(train)]
    with pytest.raises(DataError, match="No training image of a class can be read: b"):
        settled(dataset_of(half, good), damaged="skip", damaged_share=1)
    with pytest.raises(DataError, match="No validation image can be read"):
        settled(dataset_of(good, train), damaged="skip", damaged_share=1)


def test_the_bit_depth_is_told_by_the_data_unless_it_is_set(tmp_path: Path) -> None:
    dataset = dataset_of(write(tmp_path / "train", at_1=deep), write(tmp_path / "val"))
    intake = settled(dataset)
    assert intake.decoding == Decoding("white", 12, True)
    (note,) = intake.notes
    assert "1 of 20 images have 16 bits a channel" in note and "12 bits (the largest value is 4,095)" in note
    assert settled(dataset, bit_depth=14).decoding.bit_depth == 14
    low = settled(dataset, bit_depth=10)
    assert "WARNING: some values, up to 4,095, are beyond 10 bits" in low.notes[1]
    assert np.abs(np.asarray(intake.apply(dataset).train.open(1)).astype(int) - COLORS).max() <= 1
    assert unseen(DataSettings(bit_depth=9, alpha="black")).decoding == Decoding("black", 9, True)


def test_transparency_frames_and_depth_are_told(tmp_path: Path) -> None:
    dataset = dataset_of(write(tmp_path / "train", at_1=clear_png, at_2=clear_png), write(tmp_path / "val"))
    (note,) = settled(dataset).notes
    assert note == (
        "2 of 20 images are transparent in places: they are laid on white; --alpha black or ignore changes that."
    )
    assert "as --alpha says" in settled(dataset, alpha="ignore").notes[0]


def test_it_is_stored_and_read_again(tmp_path: Path) -> None:
    dataset = dataset_of(write(tmp_path / "train", at_1=deep, at_4=broken), write(tmp_path / "val"))
    intake = settled(dataset, damaged="skip", alpha="black")
    again = Intake.from_json(json.loads(json.dumps(intake.to_json())))
    assert again.decoding == intake.decoding
    assert names(again.apply(dataset).train) == names(intake.apply(dataset).train)
    assert Intake.from_json({}) == replace(AS_LOADED, left_out={})
    with pytest.raises(IndexError, match="no image 4 among 3"):
        again.apply(replace(dataset, train=without(dataset.train, range(3, 10))))


@pytest.mark.parametrize(
    "wrong",
    [
        {"decoding": 1},
        {"decoding": {"alpha": "red"}},
        {"left_out": [1]},
        {"left_out": {"train": 1}},
        {"left_out": {"train": [-1]}},
        {"left_out": {"train": ["a"]}},
    ],
)
def test_what_is_stored_wrongly_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"alpha|mappings|numbers"):
        Intake.from_json(wrong)


def test_test_images_are_judged_when_they_are_opened_and_what_is_left_out_is_kept(tmp_path: Path) -> None:
    tested = split_of(write(tmp_path / "test", 20, at_3=broken, at_5=cut_jpeg, at_6=deep))
    opened = open_test(tested, Decoding(bit_depth=10, repair=True), DataSettings(damaged="skip", damaged_share=0.1))
    assert len(opened.split) == 19 and (opened.total, opened.repaired) == (20, 1)
    assert opened.to_json() == {"left_out": {"of": 20, "images": [str(tmp_path / "test" / "3.png")]}, "repaired": 1}
    assert "cannot be read" in opened.notes[1] and "beyond the 10 bits of the training images" in opened.notes[2]
    with pytest.raises(UnreadableImageError, match="2 of 20 images cannot be read, which is 10 %"):
        open_test(tested, Decoding(), DataSettings())
    whole = open_test(split_of(write(tmp_path / "whole", 3)), Decoding(), DataSettings())
    assert whole.to_json() == {} and whole.notes == ()


@pytest.mark.parametrize(
    ("damaged", "hint"), [(2, "noah eval --damaged skip leaves out up to 10 %."), (3, "Repair these files")]
)
def test_refused_test_images_are_listed_and_the_hint_is_one_that_eval_understands(
    tmp_path: Path, damaged: int, hint: str
) -> None:
    tested = split_of(write(tmp_path / "test", 20, at_9=cut_jpeg, **{f"at_{n}": broken for n in range(damaged - 1)}))
    listing = tmp_path / "list.csv"
    with pytest.raises(UnreadableImageError) as caught:
        open_test(tested, Decoding(), DataSettings(), listing=listing)
    assert hint in caught.value.hint and str(listing) in caught.value.hint
    assert "--set" not in caught.value.hint and "--damaged repair" not in caught.value.hint
    with listing.open(newline="") as file:
        assert [(row["split"], row["done"]) for row in csv.DictReader(file)] == [("test", "refused")] * damaged
    assert ("--damaged" in caught.value.hint) == (damaged == 2)


@pytest.mark.parametrize("alpha", ["white", "black", "ignore"])
@pytest.mark.parametrize("depth", [10, 12, 16])
def test_training_and_prediction_decode_a_file_to_the_same_pixels(tmp_path: Path, alpha: Any, depth: int) -> None:
    train = write(tmp_path / "train", 6, at_1=deep, at_2=clear_png, at_3=cut_jpeg)
    dataset = dataset_of(train, write(tmp_path / "val"))
    intake = settled(dataset, alpha=alpha, bit_depth=depth)
    trained = load_pixels(intake.apply(dataset).train, SMALL).memory
    (batch,) = read_ahead(train, SMALL.pixels, intake.decoding, batch_size=16, workers=2, depth=1)
    assert batch.failures == () and trained is not None
    assert np.array_equal(batch.pixels, trained)
    told = {remark: path.stem for path, remark in batch.remarks}
    assert told == ({"repaired": "3", "too bright": "1"} if depth == 10 else {"repaired": "3"})
