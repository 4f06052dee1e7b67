from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from noah.data.dataset import Dataset
from noah.data.sources.registry import load_dataset
from noah.data.split import concatenate, groups_of
from noah.errors import DataError, DatasetNotFoundError, NoahError, UnreadableImageError, UsageError
from noah.settings.settings import ColumnSettings, DataSettings
from tests.noah.data.conftest import WriteImages
from tests.noah.data.sources.test_untouched_test_split import touched_paths


def load(path: Path | str, **columns: str) -> Dataset:
    return load_dataset(DataSettings(folder=str(path), columns=ColumnSettings(**columns)), 0)


def picture(gray: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (5, 6), (gray, gray, gray)).save(file, "PNG")
    return file.getvalue()


def packed(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def write(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packed(members))
    return path


def samples(first: int, count: int) -> dict[str, bytes]:
    """Samples of gray images that are named by their gray, whose classes are 0 and 1 in turn."""
    members = {}
    for gray in range(first, first + count):
        members[f"{gray:04}.png"] = picture(gray)
        members[f"{gray:04}.cls"] = str(gray % 2).encode()
    return members


def test_a_folder_of_shards_is_split_class_by_class(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / "pets" / f"{number:03}.tar", samples(10 * number, 10))
    dataset = load(tmp_path / "pets")
    assert dataset.name == "pets" and dataset.classes == ("0", "1")
    assert (len(dataset.train), len(dataset.validation), len(dataset.load_test())) == (12, 4, 4)
    for index in range(len(dataset.train)):
        image, name = dataset.train.open(index), dataset.train.name(index)
        assert image.getpixel((0, 0))[0] == int(Path(name).stem)
        assert int(Path(name).stem) % 2 == dataset.train.labels[index]
    assert any("2 WebDataset shards, from 000.tar to 001.tar" in note for note in dataset.notes)


@pytest.mark.parametrize("names", ["{part}-000.tar", "{part}/000.tar", "{part}/shard-000.tar"])
def test_splits_are_told_by_names_or_folders(tmp_path: Path, names: str) -> None:
    for part, first, count in (("train", 0, 6), ("val", 10, 4), ("test", 20, 2)):
        write(tmp_path / names.format(part=part), samples(first, count))
    with touched_paths() as paths:
        dataset = load(tmp_path)
    assert (len(dataset.train), len(dataset.validation)) == (6, 4)
    assert not [path for path in paths if path.startswith(str(tmp_path / "test"))]
    assert dataset.load_test().labels.tolist() == [0, 1]


@pytest.mark.parametrize("split", ["Val", "test"])
def test_a_folder_of_a_split_beside_shards_that_say_nothing_is_refused(tmp_path: Path, split: str) -> None:
    write(tmp_path / "000.tar", samples(0, 10))
    write(tmp_path / split / "000.tar", samples(20, 4))
    with touched_paths() as paths, pytest.raises(DataError, match=rf"folder {split}, .* such as 000\.tar\.") as caught:
        load(tmp_path)
    assert not [path for path in paths if path.startswith(str(tmp_path / "test"))]
    assert str(tmp_path / "train") in caught.value.hint
    assert "put what they came in elsewhere" in caught.value.hint
    (tmp_path / "000.tar").rename(tmp_path / "train-000.tar")
    assert len(load(tmp_path).full_train) == (14 if split == "Val" else 10)


@pytest.mark.parametrize("place", ["val", "Training", "test"])
@pytest.mark.parametrize("content", ["nothing", "shards below", "class folders"])
def test_a_folder_of_a_split_without_shards_is_refused(
    tmp_path: Path, place: str, content: str, write_images: WriteImages
) -> None:
    write(tmp_path / ("train-0.tar" if place == "Training" else "train/0.tar"), samples(0, 10))
    (tmp_path / place).mkdir()
    if content == "shards below":
        write(tmp_path / place / "sub" / "0.tar", samples(40, 4))
    elif content == "class folders":
        write_images(tmp_path / place / "0", 3)
    with pytest.raises(DataError) as caught:
        load(tmp_path).load_test()
    assert caught.value.problem == f"{tmp_path / place} holds no shards."
    assert f"directly into {tmp_path / place}" in caught.value.hint


@pytest.mark.parametrize(
    ("places", "told"),
    [
        (("train/0.tar", "training/0.tar"), "training split: train, training"),
        (("train/0.tar", "val/0.tar", "dev/0.tar"), "validation split: dev, val"),
        (("train/0.tar", "test/0.tar", "testing/0.tar"), "test split: test, testing"),
        (("train-0.tar", "training-0.tar", "val-0.tar"), "training split: train, training"),
        (("train-0.tar", "val-0.tar", "dev/0.tar"), "validation split: dev, val"),
    ],
)
def test_two_places_of_one_split_are_refused(tmp_path: Path, places: tuple[str, ...], told: str) -> None:
    for number, place in enumerate(places):
        write(tmp_path / place, samples(10 * number, 8))
    with pytest.raises(DataError, match=f"holds more than one {told}") as caught:
        load(tmp_path)
    assert caught.value.hint == "Keep one of them."
    if "/" in places[0]:
        with pytest.raises(DataError, match=f"holds more than one {told}"):
            load(f"{tmp_path}/*/*.tar")


def test_shards_of_one_split_may_lie_in_several_places(tmp_path: Path) -> None:
    for number, place in enumerate(("a/train/0.tar", "b/train/0.tar", "a/val/0.tar")):
        write(tmp_path / place, samples(10 * number, 4))
    dataset = load(f"{tmp_path}/*/*/*.tar")
    assert (len(dataset.train), len(dataset.validation)) == (8, 4)


def test_patterns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(12):
        write(tmp_path / "pets" / f"train-{number:02}.tar", samples(10 * number, 2))
    write(tmp_path / "pets" / "val-00.tar", samples(200, 2))
    monkeypatch.chdir(tmp_path)
    assert len(load("pets/train-{00..11}.tar").full_train) + len(load("pets/train-{00..11}.tar").load_test()) == 24
    assert len(load("pets/train-0*.tar").full_train) + len(load("pets/train-0*.tar").load_test()) == 20
    both = load("pets/{train-{08..11},val-00}.tar")
    assert (len(both.train), len(both.validation)) == (8, 2)
    assert both.name == "pets"
    with pytest.raises(DatasetNotFoundError, match=r"train-12\.tar does not exist"):
        load("pets/train-{10..13}.tar")
    with pytest.raises(DatasetNotFoundError, match="No file is called"):
        load("pets/none-*.tar")


@pytest.mark.parametrize("name", ["pets [2].tar", "pets {1,2}.tar", "pets*.tar"])
def test_an_archive_may_have_signs_of_a_pattern_in_its_name(tmp_path: Path, name: str) -> None:
    dataset = load(write(tmp_path / "pets" / name, samples(0, 10)))
    assert len(dataset.full_train) + len(dataset.load_test()) == 10


def test_labels_in_json(tmp_path: Path) -> None:
    members = {}
    for gray in range(20):
        members[f"a/{gray}.jpg"] = picture(gray)
        record = {"label": "xy"[gray % 2], "breed": "pqr"[gray % 3], "patient": gray // 2}
        members[f"a/{gray}.json"] = json.dumps(record).encode()
    write(tmp_path / "0.tar", members)
    assert load(tmp_path).classes == ("x", "y")
    assert load(tmp_path, label="breed").classes == ("p", "q", "r")
    dataset = load(tmp_path, group="patient")
    parts = [
        {int(Path(split.name(index)).stem) // 2 for index in range(len(split))}
        for split in (dataset.train, dataset.validation, dataset.load_test())
    ]
    assert sum(map(len, parts)) == 10


def records(count: int, **more: object) -> dict[str, bytes]:
    """Samples of two classes whose .json has one more value each, which a list gives in turn."""
    members = {}
    for gray in range(count):
        record = {"label": "xy"[gray % 2]} | {
            key: values[gray % len(values)] for key, values in more.items() if isinstance(values, list)
        }
        members[f"{gray}.png"] = picture(gray)
        members[f"{gray}.json"] = json.dumps(record).encode()
    return members


@pytest.mark.parametrize("option", ["groups", "columns"])
@pytest.mark.parametrize(
    ("members", "keys"), [(records(10, patient=["p"]), "label, patient"), (samples(0, 10), "none")]
)
def test_a_group_that_no_sample_names_is_refused(
    tmp_path: Path, option: str, members: dict[str, bytes], keys: str
) -> None:
    write(tmp_path / "0.tar", members)
    asked: dict[str, Any] = {"groups": "patinet"} if option == "groups" else {"columns": {"group": "patinet"}}
    with pytest.raises(DataError) as caught:
        load_dataset(DataSettings(folder=str(tmp_path), **asked), 0)
    told = f"The samples of {tmp_path} have no patinet; the names in their KEY.json are: {keys}."
    assert caught.value.problem == told
    assert "--columns group=NAME" in caught.value.hint


def test_test_shards_need_not_name_the_group(tmp_path: Path) -> None:
    write(tmp_path / "train" / "0.tar", records(10, patient=["p", "q", "r", "s", "t"]))
    write(tmp_path / "test" / "0.tar", records(4))
    assert len(load(tmp_path, group="patient").load_test()) == 4


def test_no_groups_are_none_though_a_key_is_called_so(tmp_path: Path) -> None:
    write(tmp_path / "0.tar", records(12, **{"": ["g0", "g1", "g2"]}))
    assert groups_of(load(tmp_path, group="").full_train) is None


@pytest.mark.parametrize("names", [("val/validation-0.tar", "val/1.tar"), ("Val/0.tar", "Val/val-1.tar")])
def test_a_folder_and_the_names_in_it_are_one_place(tmp_path: Path, names: tuple[str, str]) -> None:
    write(tmp_path / "Train" / "train-0.tar", records(8))
    for name in names:
        write(tmp_path / name, records(4))
    assert len(load(tmp_path).validation) == 8


def test_samples_without_a_group_are_told(tmp_path: Path) -> None:
    write(tmp_path / "0.tar", records(20, patient=["p", "q", "r", "s", "t", "", None, " ", "v", "w"]))
    dataset = load(tmp_path, group="patient")
    (told,) = (note for note in dataset.notes if note.startswith("WARNING"))
    assert told.startswith(f"WARNING: 6 images are in no group, because {tmp_path} has no patient for them, such as ")
    assert "/0.tar/5.png;" in told and told.endswith("each counts as a group of its own.")
    assert any("13 groups, each on one side" in note for note in dataset.notes)  # 7 patients and 6 images


def test_labels_and_groups_are_read_as_those_of_tables(tmp_path: Path) -> None:
    labels = ["caf\u00e9", "cafe\u0301", " tea", "tea "]
    write(tmp_path / "train" / "0.tar", records(16, label=labels, patient=["p", " p", "Jos\u00e9", "Jose\u0301", "q"]))
    write(tmp_path / "val" / "0.tar", records(4, label=labels, patient=["v"]))
    write(tmp_path / "test" / "0.tar", {"1.png": picture(1), "1.cls": "cafe\u0301\n".encode()})
    dataset = load(tmp_path)
    assert dataset.classes == ("caf\u00e9", "tea")
    assert dataset.load_test().labels.tolist() == [0]
    assert set(groups_of(load(tmp_path / "train", group="patient").full_train) or ()) < {"p", "Jos\u00e9", "q"}
    write(tmp_path / "train" / "1.tar", records(4, label=[" "]))
    with pytest.raises(DataError, match="4 mistakes"):
        load(tmp_path)


@pytest.mark.parametrize("column", ["path", "split"])
def test_columns_that_samples_have_not_are_refused(tmp_path: Path, column: str) -> None:
    write(tmp_path / "0.tar", samples(0, 10))
    named, unnamed = (
        DataSettings(folder=str(tmp_path), columns=ColumnSettings(**{column: name})) for name in ("fold", "")
    )
    with pytest.raises(UsageError, match=f"--columns {column}=fold does not apply to .*WebDataset shards") as caught:
        load_dataset(named, 0)
    assert caught.value.hint == "Leave it out; --columns takes label=NAME, group=NAME there."
    assert len(load_dataset(unnamed, 0).full_train) == 8


def test_what_belongs_to_no_sample_is_passed_over(tmp_path: Path) -> None:
    members = {**samples(0, 10), "._0000.png": b"x", "readme.txt": b"x", "0000.seg.png": b"x", "0000.txt": b"a cat"}
    write(tmp_path / "0.tar", members)
    assert len(load(tmp_path).full_train) == 8


def test_every_wrong_sample_is_told(tmp_path: Path) -> None:
    members = {
        **samples(0, 4),
        "no-label.png": picture(1),
        "empty.png": picture(1),
        "empty.cls": b" ",
        "broken.png": picture(1),
        "broken.json": b"{",
        "list.png": picture(1),
        "list.json": b'{"label": [1]}',
        "twice.png": picture(1),
        "twice.jpg": picture(1),
        "twice.cls": b"1",
    }
    write(tmp_path / "0.tar", members)
    with pytest.raises(DataError) as caught:
        load(tmp_path)
    told = caught.value.problem
    assert told.startswith(f"{tmp_path} has 5 mistakes:")
    for line in (
        *("0.tar/no-label: no label", "0.tar/empty: no label", "0.tar/broken: its .json is no JSON"),
        *("0.tar/list: its label is neither a short text nor a whole number", "0.tar/twice: two images"),
    ):
        assert line in told
    assert "KEY.cls" in caught.value.hint


def test_a_shard_that_is_compressed_or_cut_short(tmp_path: Path) -> None:
    path = write(tmp_path / "0.tar", samples(0, 10))
    content = path.read_bytes()
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError, match="is compressed") as caught:
        load(tmp_path)
    assert "gunzip" in caught.value.hint
    path.write_bytes(content[:3000])
    with pytest.raises(DataError, match="Cannot read"):
        load(tmp_path)


def test_an_image_that_cannot_be_read_is_named_with_its_shard(tmp_path: Path) -> None:
    write(tmp_path / "0.tar", samples(0, 10) | {"0003.png": b"no image"})
    dataset = load(tmp_path)
    everything = concatenate(dataset.full_train, dataset.load_test())
    names = [everything.name(index) for index in range(len(everything))]
    with pytest.raises(UnreadableImageError, match="in no image format"):
        everything.open(names.index(f"{tmp_path}/0.tar/0003.png"))


def test_a_folder_with_class_folders_and_the_archive_they_came_in(tmp_path: Path, write_images: WriteImages) -> None:
    write(tmp_path / "download.tar", samples(0, 4))
    for name in ("cat", "dog"):
        write_images(tmp_path / name, 5)
    assert load(tmp_path).classes == ("cat", "dog")


SHARD = packed(samples(0, 6))


@settings(max_examples=200)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SHARD) - 1), st.integers(0, 255)), max_size=12),
    cut=st.integers(0, len(SHARD)) | st.none(),
)
def test_a_damaged_shard_gives_no_traceback(
    tmp_path_factory: pytest.TempPathFactory, changes: list[tuple[int, int]], cut: int | None
) -> None:
    content = bytearray(SHARD)
    for place, value in changes:
        content[place] = value
    path = tmp_path_factory.getbasetemp() / "fuzzed-shard.tar"
    path.write_bytes(content[:cut])
    try:
        dataset = load(path)
    except NoahError as error:
        assert str(error).encode()
        return
    for index in range(len(dataset.train)):
        try:
            dataset.train.open(index)
        except UnreadableImageError:
            continue
