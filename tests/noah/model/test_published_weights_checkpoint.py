"""Checkpoint files of the published code: what its training writes is read, and nothing that could run code."""

from __future__ import annotations

import argparse
import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm.scheduler import CosineLRScheduler
from torch import Tensor

from noah.errors import CheckpointError
from noah.model.published_weights import load_reference, read_reference_checkpoint
from noah.space.subnet import Subnet

DATA = Path(__file__).parents[2] / "data"
HEADS = json.loads((DATA / "noah_tiny.json").read_text())["num_heads"]


def read_arrays(prefix: str) -> dict[str, np.ndarray]:
    with np.load(DATA / "noah_tiny.npz") as file:
        return {name.removeprefix(prefix): file[name] for name in file.files if name.startswith(prefix)}


WEIGHTS = {name: torch.from_numpy(array) for name, array in read_arrays("weights/").items()}
IMAGES = torch.from_numpy(read_arrays("input")[""])


def training_state(weights: dict[str, Tensor]) -> dict[str, Any]:
    """What the published training saves after an epoch, with a step of its optimizer taken."""
    parameters = [torch.nn.Parameter(value.clone()) for value in weights.values()]
    optimizer = torch.optim.AdamW(parameters)
    for parameter in parameters:
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return {
        "model": weights,
        "optimizer": optimizer.state_dict(),
        "lr_scheduler": CosineLRScheduler(optimizer, t_initial=5).state_dict(),
        "epoch": 499,
        "scaler": {"scale": 65536.0, "growth_factor": 2.0, "_growth_tracker": 7},
        "args": argparse.Namespace(batch_size=64, mode="super", opt_betas=None, amp=False, lr_noise=[0.1, 0.9]),
    }


class TestReading:
    @pytest.mark.parametrize("zipped", [True, False])
    def test_a_training_checkpoint_gives_the_same_supernet(self, tmp_path: Path, zipped: bool) -> None:
        path = tmp_path / "checkpoint.pth"
        torch.save(training_state(WEIGHTS), path, _use_new_zipfile_serialization=zipped)
        from_file = load_reference(read_reference_checkpoint(path), num_heads=HEADS).eval()
        from_arrays = load_reference(WEIGHTS, num_heads=HEADS, patch_size=8, img_size=32).eval()
        assert from_file.largest == from_arrays.largest
        subnet = Subnet.uniform(4, prompt=3, lora=2, adapter=5)
        assert torch.equal(from_file(IMAGES, subnet), from_arrays(IMAGES, subnet))
        for name, value in from_arrays.state_dict().items():
            assert torch.equal(from_file.state_dict()[name], value), name

    def test_the_path_may_be_text_and_the_weights_alone_suffice(self, tmp_path: Path) -> None:
        torch.save({"model": WEIGHTS}, tmp_path / "weights.pth")
        state = read_reference_checkpoint(str(tmp_path / "weights.pth"))
        assert state.keys() == WEIGHTS.keys()

    def test_nothing_stays_allowed_afterwards(self, tmp_path: Path) -> None:
        path = tmp_path / "checkpoint.pth"
        torch.save(training_state(WEIGHTS), path)
        read_reference_checkpoint(path)
        with pytest.raises(pickle.UnpicklingError, match="Namespace"):
            torch.load(path, weights_only=True)


NUMPY_SCALARS = [
    np.float64(0.5),
    np.float32(-1),
    np.float16(0),
    np.longdouble(1),
    np.int64(3),
    np.uint8(255),
    np.bool_(True),
    np.complex64(1j),
    np.str_("food101"),
    np.str_(""),
    np.bytes_(b"\x00\xff"),
    np.datetime64("2022-06-09"),
]


class TestNumPyScalars:
    @pytest.mark.parametrize("form", ["zip", "old", "of NumPy 1"])
    @pytest.mark.parametrize("value", NUMPY_SCALARS, ids=repr)
    def test_beside_the_weights_they_do_no_harm(self, tmp_path: Path, value: np.generic, form: str) -> None:
        path = tmp_path / "checkpoint.pth"
        state = training_state(WEIGHTS) | {"epoch": value, "args": argparse.Namespace(lr=value, betas=[value, value])}
        torch.save(state, path, _use_new_zipfile_serialization=form == "zip")
        if form == "of NumPy 1":
            content = path.read_bytes()
            assert b"cnumpy._core.multiarray\nscalar\n" in content
            path.write_bytes(content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n"))
        found = read_reference_checkpoint(path)
        assert found.keys() == WEIGHTS.keys()
        assert all(torch.equal(found[name], weight) for name, weight in WEIGHTS.items())

    @pytest.mark.parametrize("value", NUMPY_SCALARS, ids=repr)
    def test_among_the_weights_they_are_no_weights(self, tmp_path: Path, value: np.generic) -> None:
        path = tmp_path / "checkpoint.pth"
        torch.save({"model": {**WEIGHTS, "head.bias": value}}, path)
        with pytest.raises(CheckpointError, match="is not a state dictionary"):
            read_reference_checkpoint(path)

    def test_they_are_not_allowed_afterwards(self, tmp_path: Path) -> None:
        path = tmp_path / "checkpoint.pth"
        torch.save({"model": WEIGHTS, "epoch": np.int64(3)}, path)
        read_reference_checkpoint(path)
        with pytest.raises(pickle.UnpicklingError, match="numpy"):
            torch.load(path, weights_only=True)

    def test_no_function_of_numpy_is_called_for_them(self, tmp_path: Path) -> None:
        """Whatever such a function made of strange arguments, here it makes nothing of them."""
        path = tmp_path / "checkpoint.pth"
        strange = [Calls(np.dtype, "no type"), Calls(np.dtype, ["f8"] * 9), Calls(np._core.multiarray.scalar, 1, 2, 3)]
        torch.save({"model": WEIGHTS, "args": argparse.Namespace(strange=strange)}, path)
        assert read_reference_checkpoint(path).keys() == WEIGHTS.keys()

    def test_other_objects_of_numpy_stay_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "checkpoint.pth"
        torch.save({"model": WEIGHTS, "args": Calls(np.load, "file.npy", None, True)}, path)
        with pytest.raises(CheckpointError, match=r"it asks for 'numpy\S*load', which could run code"):
            read_reference_checkpoint(path)


class Calls:
    """Unpickled, it calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return (self.function, self.arguments)


def traps(trace: Path) -> dict[str, Calls]:
    """Objects that create a folder when they are unpickled, by what torch calls their function."""
    return {"posix.mkdir": Calls(os.mkdir, str(trace)), "exec": Calls(exec, f"import os; os.mkdir({str(trace)!r})")}


WRAPS: dict[str, Callable[[Calls], Any]] = {
    "alone": lambda trap: trap,
    "as the weights": lambda trap: {"model": trap},
    "among the weights": lambda trap: {"model": {**WEIGHTS, "head.bias": trap}},
    "beside the weights": lambda trap: {"model": WEIGHTS, "optimizer": trap},
    "in the arguments": lambda trap: {"model": WEIGHTS, "args": argparse.Namespace(seed=trap)},
    "beside a NumPy scalar": lambda trap: {"model": WEIGHTS, "args": argparse.Namespace(lr=np.float64(1), seed=trap)},
    "in a NumPy scalar": lambda trap: {"model": WEIGHTS, "args": Calls(np.dtype, trap)},
}


class TestHostileFiles:
    @pytest.mark.parametrize("form", ["pickle", "zip", "old"])
    @pytest.mark.parametrize("wrap", WRAPS)
    @pytest.mark.parametrize("name", traps(Path()))
    def test_their_code_does_not_run_and_is_named(self, tmp_path: Path, name: str, wrap: str, form: str) -> None:
        path, trace = tmp_path / "checkpoint.pth", tmp_path / "trace"
        content = WRAPS[wrap](traps(trace)[name])
        pickle.loads(pickle.dumps(content))  # noqa: S301  # the trap works
        trace.rmdir()
        if form == "pickle":
            path.write_bytes(pickle.dumps(content, protocol=2))
        else:
            torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
        with pytest.raises(CheckpointError) as caught:
            read_reference_checkpoint(path)
        assert not trace.exists()
        assert len(caught.value.problem.splitlines()) == 1
        assert str(path) in caught.value.problem
        if form != "pickle" or wrap == "alone":  # tensors that were not saved by torch are refused for themselves
            assert repr(name) in caught.value.problem

    def test_a_name_that_would_move_the_cursor_is_escaped(self, tmp_path: Path) -> None:
        path = tmp_path / "checkpoint.pth"
        path.write_bytes(b"\x80\x02cevil\n\x1b[2Jname\n.")
        with pytest.raises(CheckpointError) as caught:
            read_reference_checkpoint(path)
        assert caught.value.problem.isprintable()
        assert "evil" in caught.value.problem


class TestOtherFiles:
    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (WEIGHTS, "no weights under 'model'; it holds 'cls_token', 'pos_embed', "),
            ({"state_dict": WEIGHTS}, "no weights under 'model'; it holds 'state_dict'."),
            ({}, "no weights under 'model'; it holds nothing."),
            ([1, 2], "no weights under 'model'; it holds list."),
            (argparse.Namespace(model=WEIGHTS), "no weights under 'model'; it holds Namespace."),
            ({"model": [1]}, "is not a state dictionary"),
            ({"model": {"head.bias": 1.0}}, "is not a state dictionary"),
            ({"model": {1: torch.ones(1)}}, "is not a state dictionary"),
        ],
    )
    def test_no_weights_in_their_place(self, tmp_path: Path, content: Any, told: str) -> None:
        path = tmp_path / "checkpoint.pth"
        torch.save(content, path)
        with pytest.raises(CheckpointError) as caught:
            read_reference_checkpoint(path)
        assert told in caught.value.problem
        assert str(path) in caught.value.problem
        assert len(str(caught.value).splitlines()) == 2

    @pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 half a zip file", b"\x80\x02"])
    def test_damaged(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "checkpoint.pth"
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match="cannot be read as plain weights") as caught:
            read_reference_checkpoint(path)
        assert len(str(caught.value).splitlines()) == 2

    def test_cut_short(self, tmp_path: Path) -> None:
        path = tmp_path / "checkpoint.pth"
        torch.save(training_state(WEIGHTS), path)
        path.write_bytes(path.read_bytes()[:-1000])
        with pytest.raises(CheckpointError, match="cannot be read as plain weights"):
            read_reference_checkpoint(path)

    @pytest.mark.parametrize("name", ["missing.pth", "."])
    def test_missing(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(CheckpointError, match="does not exist"):
            read_reference_checkpoint(tmp_path / name)


class TestSizes:
    @given(st.integers(1, 9), st.integers(1, 6))
    def test_are_read_off_the_weights(self, patch: int, grid: int) -> None:
        dim = WEIGHTS["pos_embed"].shape[-1]
        other = {
            "patch_embed.proj.weight": torch.zeros(dim, 3, patch, patch).double(),
            "pos_embed": torch.zeros(1, 1 + grid * grid, dim).double(),
        }
        backbone = load_reference(WEIGHTS | other, num_heads=HEADS).backbone
        assert backbone.patch_embed.patch_size == (patch, patch)
        assert backbone.patch_embed.img_size == (patch * grid, patch * grid)

    @pytest.mark.parametrize("tokens", [0, 1, 3, 13, 18])
    def test_a_grid_that_is_not_square_is_refused(self, tokens: int) -> None:
        with pytest.raises(CheckpointError, match="square") as caught:
            load_reference(WEIGHTS | {"pos_embed": torch.zeros(1, tokens, 48)}, num_heads=HEADS)
        assert caught.value.hint == "Give img_size."

    @pytest.mark.parametrize("shape", [(48, 3, 8, 4), (48, 192), (48, 3, 0, 0)])
    def test_patches_that_are_not_square_are_refused(self, shape: tuple[int, ...]) -> None:
        with pytest.raises(CheckpointError, match="square patch"):
            load_reference(WEIGHTS | {"patch_embed.proj.weight": torch.zeros(shape)}, num_heads=HEADS)

    @pytest.mark.parametrize("heads", [-3, 0, 5, 96])
    def test_heads_that_do_not_divide_the_width_are_refused(self, heads: int) -> None:
        with pytest.raises(CheckpointError, match=f"{heads} heads do not divide"):
            load_reference(WEIGHTS, num_heads=heads)

    @pytest.mark.parametrize("index", [0, 1])
    def test_a_missing_block_is_named(self, index: int) -> None:
        partial = {name: value for name, value in WEIGHTS.items() if not name.startswith(f"blocks.{index}.")}
        with pytest.raises(CheckpointError, match=rf"blocks\.{index}"):
            load_reference(partial, num_heads=HEADS)

    def test_a_block_far_away_does_not_make_a_deep_network(self) -> None:
        with pytest.raises(CheckpointError, match=r"blocks\.4' is missing"):
            load_reference(WEIGHTS | {"blocks.1000000000.x": torch.zeros(1)}, num_heads=HEADS)
