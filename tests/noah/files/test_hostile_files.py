"""Files made to do harm: each is refused with an error that names it, and nothing in it runs.

`tests/fuzz` reads thousands of damaged files; here are the attacks one by one, with what is told of them.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import tarfile
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from noah.backbone.load import load_backbone
from noah.data.decode import open_image
from noah.data.sources.archives import unpack
from noah.data.sources.lists import read_list
from noah.errors import CheckpointError, DataError, NoahError, RunError, SettingsError, UnreadableImageError
from noah.files.latest import read_latest
from noah.model.published_weights import read_reference_checkpoint
from noah.runs.folder import Run, create_run
from noah.runs.stored_results import read_front, read_result, read_winner
from noah.settings.layers import Layer, file_layer, resolve
from noah.space.subnet import Subnet
from tests.conftest import TINY_ARCHITECTURE, TINY_IMAGE_SIZE
from tests.fuzz.attacks import _gibibyte, claimed_tar, npy, png, zipped

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


class Touches:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (os.system, (f"touch {self.path}",))


def backbone(path: Path) -> object:
    return load_backbone(str(path), architecture=TINY_ARCHITECTURE, image_size=TINY_IMAGE_SIZE)


@pytest.mark.parametrize("zipped_file", [True, False])
@pytest.mark.parametrize("read", [backbone, read_reference_checkpoint])
def test_code_in_a_pickled_checkpoint_does_not_run(tmp_path: Path, read: Any, zipped_file: bool) -> None:
    path, mark = tmp_path / "weights.pth", tmp_path / "mark"
    torch.save({"model": Touches(mark)}, path, _use_new_zipfile_serialization=zipped_file)
    with pytest.raises(CheckpointError, match="could run code") as caught:
        read(path)
    assert str(path) in caught.value.problem
    assert not mark.exists()


def test_code_in_an_array_file_does_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "weights.npz", tmp_path / "mark"
    np.savez(path, **{"embedding/kernel": np.array([Touches(mark)], dtype=object)})
    with pytest.raises(CheckpointError, match="pickled Python objects, which could run code"):
        backbone(path)
    path.write_bytes(zipped({"embedding/kernel.npy": npy("|O", (1,)) + pickle.dumps(Touches(mark))}))
    with pytest.raises(CheckpointError, match="pickled Python objects"):
        backbone(path)
    assert not mark.exists()


@pytest.mark.parametrize("name", ["patch_embed.proj.weight", "pos_embed", "norm.weight"])
def test_a_tensor_that_is_one_number_repeated(tmp_path: Path, tiny_backbone_file: Path, name: str) -> None:
    """A view of four bytes as 12 GB, which resampling would make real."""
    from safetensors.torch import load_file

    shapes = {
        "patch_embed.proj.weight": (64, 3, 4096, 4096),
        "pos_embed": (1, 50_000_001, 64),
        "norm.weight": (10**10,),
    }
    state = load_file(tiny_backbone_file) | {name: torch.zeros(1).expand(shapes[name])}
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match="far more than the file itself"):
        backbone(path)


def test_positions_of_a_grid_beyond_reason(tmp_path: Path, tiny_backbone_file: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = tmp_path / "weights.safetensors"
    save_file(load_file(tiny_backbone_file) | {"pos_embed": torch.zeros(1, 300 * 300 + 1, 64)}, path)
    with pytest.raises(CheckpointError, match="more than a grid of 256 x 256 patches"):
        backbone(path)


def test_a_checkpoint_that_is_compressed(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(zipped({"archive/data.pkl": pickle.dumps({}), "archive/data/0": bytes(2**20)}))
    with pytest.raises(CheckpointError, match="it is compressed"):
        backbone(path)


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ({1: torch.zeros(2)}, "1 is not the name of a tensor"),
        ({"a": [1]}, "'a' is not the name of a tensor"),
        ([torch.zeros(2)], "not a mapping of names to tensors"),
        ({"a": torch.zeros(4).to_sparse()}, "'a' is not a plain tensor"),
    ],
)
def test_what_is_no_state_dictionary(tmp_path: Path, state: object, told: str) -> None:
    path = tmp_path / "weights.pth"
    torch.save(state, path)
    with pytest.raises(CheckpointError, match=told):
        backbone(path)


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (LAUGHS, "holds more than 50,000 values"),
        ("seed: &s [*s]", "leads nowhere or into itself"),
        ("seed: !!python/object/apply:os.system ['true']", "not YAML at line 1"),
        ("seed: 2001-99-99", "month must be in 1..12"),
        ("seed: !!timestamp x", "not YAML that noah reads"),
        ("seed: " + "9" * 5000, "Exceeds the limit"),
        ("[" * 5000, "not YAML that noah reads"),
        ("seed: '" + "a" * 2**20 + "'", "are the most that noah reads"),
    ],
)
def test_settings_that_would_run_or_fill_memory(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=told):
        file_layer(path)


def test_an_alias_that_stays_small_is_read(tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text("supernet: &training {epochs: 5, warmup_epochs: 1}\nretrain: *training\n")
    settings, _ = resolve([file_layer(path)])
    assert (settings.supernet.epochs, settings.retrain.epochs) == (5, 5)


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK])
def test_a_tar_header_of_gigabytes_of_zeros(tmp_path: Path, kind: bytes) -> None:
    archive, target = tmp_path / "x.tar.gz", tmp_path / "target"
    target.mkdir()
    archive.write_bytes(gzip.compress(claimed_tar(kind, 2**30)[:512]) + _gibibyte())
    tracemalloc.start()
    with pytest.raises(DataError, match="a header of it claims 1,073,741,824 bytes"):
        unpack(archive, target)
    assert tracemalloc.get_traced_memory()[1] < 2**26
    tracemalloc.stop()


def test_a_zip_bomb(tmp_path: Path) -> None:
    archive, target = tmp_path / "x.zip", tmp_path / "target"
    target.mkdir()
    with (
        zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as opened,
        opened.open("zeros", "w", force_zip64=True) as file,
    ):
        for _ in range(1025):
            file.write(bytes(2**20))
    with pytest.raises(DataError, match=r"unpacks to more than the 1.0 GiB"):
        unpack(archive, target)
    assert list(target.iterdir()) == []


def test_a_tar_archive_of_another_compression(tmp_path: Path) -> None:
    archive, target = tmp_path / "x.tar", tmp_path / "target"
    target.mkdir()
    with tarfile.open(archive, "w:xz") as opened:
        opened.addfile(tarfile.TarInfo("a"), io.BytesIO())
    with pytest.raises(DataError, match="Cannot unpack"):
        unpack(archive, target)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("a.png " + "9" * 5000, "is too large"),
        ("a.png 99999999999999999999", "is too large"),
        ("a" * 5000 + ".png 0", "does not exist"),
        ("a/" * 3000 + "b.png 0", "does not exist"),
    ],
)
def test_a_list_that_no_number_or_path_holds(tmp_path: Path, line: str, told: str) -> None:
    path = tmp_path / "list.txt"
    path.write_text(line)
    with pytest.raises(DataError, match=told):
        read_list(path, [tmp_path], classes=None, dataset="x", layout="")


@pytest.mark.parametrize(("width", "height"), [(2**31 - 1, 2**31 - 1), (10**5, 10**5), (0, 5)])
def test_an_image_whose_header_lies(width: int, height: int) -> None:
    with pytest.raises(UnreadableImageError):
        open_image(io.BytesIO(png(width, height, 8, 2, b"\0" * 100)))


def test_a_large_16_bit_image_takes_little_more_than_its_pixels() -> None:
    side = 3000
    file = io.BytesIO(png(side, side, 16, 0, b"\0" * (side * (2 * side + 1))))
    tracemalloc.start()
    assert open_image(file).size == (side, side)
    assert tracemalloc.get_traced_memory()[1] < 5 * side * side  # NumPy's part of it
    tracemalloc.stop()


@pytest.mark.parametrize("content", [b"\xff\xfe", b"", b"x" * 5000, b"a\0b", b"a\nb"])
def test_a_damaged_pointer_to_the_latest_run(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "latest").write_bytes(content)
    with pytest.raises(NoahError, match="holds no name of a run"):
        read_latest(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    chosen, origins = resolve([Layer(source="test", values={"seed": 1})])
    root = tmp_path_factory.mktemp("runs")
    return create_run(root, chosen, origins, dataset="x", name="first", facts={}, choices=[])


READERS = {
    "search/best.json": lambda run: read_winner(run),
    "search/pareto.json": lambda run: read_front(run),
    "eval/test.json": lambda run: read_result(run, "eval", "test.json"),
    "run.yaml": lambda run: run.settings(),
}


@pytest.mark.parametrize("name", READERS)
@given(value=JSON)
@settings(max_examples=60)
def test_any_json_is_read_or_refused(run: Run, name: str, value: Any) -> None:
    path = run.path(name)
    kept = path.read_bytes() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value))
    try:
        READERS[name](run)
        assert name != "eval/test.json" and name != "search/best.json"  # no chance value has all their keys
    except NoahError as error:
        assert path.name in str(error)
    finally:
        path.unlink() if kept is None else path.write_bytes(kept)


@pytest.mark.parametrize("text", ["[]", "null", "5", '"x"', "{}", "[" * 100_000, "9" * 5000, '{"stopped": null}'])
def test_a_winner_that_is_none(run: Run, text: str) -> None:
    path = run.path("search", "best.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(RunError, match=r"best\.json is damaged") as caught:
        read_winner(run)
    path.unlink()
    assert f"noah search --resume --run {run.option}" in caught.value.hint


@given(JSON)
def test_any_json_is_a_subnet_or_refused(value: Any) -> None:
    for given_value in (value, {"prompt": value, "lora": [0], "adapter": [0]}):
        try:
            assert Subnet.from_json(json.dumps(given_value)).depth >= 1
        except SettingsError as error:
            assert error.problems
