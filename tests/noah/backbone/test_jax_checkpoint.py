"""The vision transformer authors' own `.npz` files: what is loaded from them, and what is refused."""

from __future__ import annotations

import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noah.backbone import jax_checkpoint
from noah.backbone.families.releases import READS_BARE_ARRAYS
from noah.errors import CheckpointError
from tests.conftest import TINY_ARCHITECTURE
from tests.noah.architectures import relative
from tests.noah.flax_vit import Arrays, Sizes, forward, random_arrays, renumbered
from tests.noah.tiny_backbone import IMAGES, features, load

pytestmark = pytest.mark.usefixtures("one_thread")

SPELLINGS: dict[str, Callable[[Arrays], Arrays]] = {
    "original": lambda arrays: arrays,
    "optimizer's copy": lambda arrays: {f"opt/target/{name}": array for name, array in arrays.items()},
    "renumbered": lambda arrays: renumbered(arrays, stacked=False, prefix=""),
    "renumbered below params": lambda arrays: renumbered(arrays, stacked=False, prefix="params/"),
    "stacked": lambda arrays: renumbered(arrays, stacked=True, prefix="params/img/"),
}


@pytest.fixture
def arrays() -> Arrays:
    return random_arrays()


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Arrays], Path]:
    def writer(arrays: Arrays) -> Path:
        path = tmp_path / "weights.npz"
        np.savez(path, **arrays)
        return path

    return writer


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_file_computes_what_its_arrays_say(arrays: Arrays, write: Callable[[Arrays], Path], spelling: str) -> None:
    if spelling == "renumbered" and not READS_BARE_ARRAYS:
        pytest.skip("timm before 1.0.29 does not read this spelling")
    model = load(write(SPELLINGS[spelling](arrays))).model.double()
    expected = forward(arrays, IMAGES.permute(0, 2, 3, 1).numpy().astype(np.float64))
    assert relative(features(model, IMAGES.double()), torch.from_numpy(expected)) < 1e-9


def test_what_the_installed_timm_cannot_read_is_told_with_the_one_that_can(
    arrays: Arrays, write: Callable[[Arrays], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jax_checkpoint, "READS_BARE_ARRAYS", False)
    with pytest.raises(CheckpointError, match=r"pip install --upgrade 'timm>=1\.0\.29'"):
        load(write(SPELLINGS["renumbered"](arrays)))


def test_every_array_of_the_backbone_matters(arrays: Arrays) -> None:
    """So that the agreement above has something to find."""
    images = IMAGES[:1].permute(0, 2, 3, 1).numpy().astype(np.float64)
    whole = forward(arrays, images)
    for name in arrays:
        if not name.startswith(("head/", "pre_logits/")) and not name.endswith("key/bias"):  # softmax cancels that
            changed = forward({**arrays, name: 1.5 * arrays[name]}, images)
            assert np.abs(changed - whole).max() > 1e-5, name


@pytest.mark.parametrize("image_size", [32, 160])
def test_positions_are_resampled_to_another_image_size(write: Callable[[Arrays], Path], image_size: int) -> None:
    backbone = load(write(random_arrays(Sizes(grid=4))), image_size=image_size)
    assert backbone.image_size == (image_size, image_size)
    assert features(backbone.model, torch.zeros(1, 3, image_size, image_size)).isfinite().all()


def block(number: int, name: str) -> str:
    return f"Transformer/encoderblock_{number}/{name}"


QUERY = block(2, "MultiHeadDotProductAttention_1/query")
POSITIONS = "Transformer/posembed_input/pos_embedding"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda a: a.pop("embedding/kernel"), "no array embedding/kernel"),
        (lambda a: a.pop(block(3, "LayerNorm_0/bias")), f"{block(3, 'LayerNorm_0/bias')} is missing"),
        (lambda a: a.pop(f"{QUERY}/kernel"), f"{QUERY}/kernel is missing"),
        (lambda a: a.pop("cls"), "cls is missing"),
        (lambda a: a.pop(POSITIONS), "pos_embedding is missing"),
        (lambda a: a.update({"Transformer/encoder_norm/bias": np.ones(63)}), r"shape \(63,\), not \(64,\)"),
        (lambda a: a.update({"Transformer/encoder_norm/bias": np.ones(1)}), r"shape \(1,\), not \(64,\)"),
        (lambda a: a.update({f"{QUERY}/kernel": np.ones((64, 4, 16))}), r"\(64, 4, 16\), not \(64, 2, 32\)"),
        (lambda a: a.update({"cls": np.ones((1, 1, 1))}), r"cls has the shape \(1, 1, 1\)"),
        (lambda a: a.update({POSITIONS: np.ones((1, 8, 64))}), r"\(1, 8, 64\), not \(1, 5, 64\)"),
        (lambda a: a.update({POSITIONS: np.ones((1, 10, 63))}), r"\(1, 10, 63\), not"),
        (lambda a: a.update({POSITIONS: np.ones((5, 64))}), r"\(5, 64\), not"),
        (lambda a: a.update({block(6, "LayerNorm_0/scale"): np.ones(64)}), "7 blocks, not 6"),
        (lambda a: [a.pop(name) for name in list(a) if "encoderblock_5" in name], "5 blocks, not 6"),
        (lambda a: a.update({"embedding/kernel": np.ones((8, 8, 3, 64))}), "patches are 8 x 8"),
        (lambda a: a.update({block(0, "LayerScale_0/gamma"): np.ones(64)}), "no place for .*LayerScale_0/gamma"),
        (lambda a: a.update({"embedding/bias": np.ones(64, int)}), "embedding/bias holds int64"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_in_two_lines(
    arrays: Arrays, write: Callable[[Arrays], Path], change: Callable[[Arrays], Any], told: str
) -> None:
    change(arrays)
    path = write(arrays)
    with pytest.raises(CheckpointError, match=f"does not fit the architecture {TINY_ARCHITECTURE}: .*{told}") as caught:
        load(path)
    assert str(path) in caught.value.problem
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize(
    ("architecture", "depth", "told"),
    [
        ("vit_base_patch16_224", 6, "6 blocks, not 12"),
        ("vit_tiny_patch16_224", 12, "64.*, not .*192"),
        ("test_vit2", 8, "the architecture has blocks.0.ls1.gamma, for which such files have no place"),
        ("vit_small_patch14_dinov2", 12, "patches are 16 x 16"),
    ],
)
def test_another_architecture_is_refused(
    write: Callable[[Arrays], Path], architecture: str, depth: int, told: str
) -> None:
    with pytest.raises(CheckpointError, match=told):
        load(write(random_arrays(Sizes(depth=depth))), architecture=architecture, image_size=None)


class Hostile:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("name", ["embedding/bias", f"{QUERY}/kernel", "head/bias", "something else"])
def test_an_array_of_pickled_objects_is_refused_and_not_read(
    arrays: Arrays, write: Callable[[Arrays], Path], tmp_path: Path, name: str
) -> None:
    trace = tmp_path / "trace"
    hostile = np.array([Hostile(trace)], dtype=object)
    pickle.loads(pickle.dumps(hostile))  # noqa: S301  # the trap works
    trace.unlink()
    path = write({**arrays, name: hostile})
    with pytest.raises(CheckpointError, match=f"{name} holds pickled Python objects"):
        load(path)
    assert not trace.exists()


def test_a_file_that_is_not_all_arrays_is_refused(arrays: Arrays, write: Callable[[Arrays], Path]) -> None:
    path = write(arrays)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("readme.txt", "no array")
    with pytest.raises(CheckpointError, match="does not fit"):
        load(path)
