from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from noah.backbone.names import read_name
from noah.errors import CheckpointError
from tests.noah.tiny_backbone import features, load

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def write(tmp_path: Path, tiny_backbone_file: Path) -> Callable[..., Path]:
    """Writes the tiny backbone's weights after `change` to a file of that suffix, wrapped by `wrap`."""

    def writer(
        suffix: str,
        change: Callable[[dict[str, Tensor]], Any] = lambda state: None,
        wrap: Callable[[Any], Any] = lambda state: state,
    ) -> Path:
        state = load_file(tiny_backbone_file)
        change(state)
        path = tmp_path / f"weights{suffix}"
        save_file(state, path) if suffix.lower() == ".safetensors" else torch.save(wrap(state), path)
        return path

    return writer


@pytest.mark.parametrize("suffix", [".SafeTensors", ".PTH"])
def test_capitals_in_a_suffix_make_no_difference(
    write: Callable[..., Path], tiny_backbone_file: Path, suffix: str
) -> None:
    assert torch.equal(features(load(write(suffix)).model), features(load(tiny_backbone_file).model))
    assert read_name(f"none{suffix}").kind == "file"


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
@pytest.mark.parametrize("key", [None, "model", "state_dict", "module"])
def test_a_pth_file_may_hold_the_weights_under_a_usual_key(
    write: Callable[..., Path], tiny_backbone_file: Path, suffix: str, key: str | None
) -> None:
    path = write(suffix, wrap=lambda state: state if key is None else {key: state, "epoch": 3, "loss": 0.5})
    assert torch.equal(features(load(path).model), features(load(tiny_backbone_file).model))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda s: s.pop("blocks.3.attn.qkv.weight"), "1 missing (blocks.3.attn.qkv.weight)"),
        (lambda s: s.update(extra=torch.ones(1)), "1 unknown (extra)"),
        (lambda s: s.update({"norm.bias": torch.ones(63)}), "1 of another shape (norm.bias)"),
        (lambda s: [s.pop(key) for key in list(s) if key.startswith("blocks.5.")], "12 missing (blocks.5."),
        (lambda s: s.update({f"blocks.6.{n}": torch.ones(1) for n in "abcd"}), "4 unknown (blocks.6.a, blocks.6.b, "),
        (lambda s: s.update({"patch_embed.proj.weight": torch.ones(64, 3, 8, 8)}), "shape (patch_embed.proj.weight)"),
        (lambda s: s.pop("pos_embed"), "1 missing (pos_embed)"),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(
    write: Callable[..., Path], suffix: str, change: Callable[[dict[str, Tensor]], Any], told: str
) -> None:
    path = write(suffix, change)
    with pytest.raises(CheckpointError, match="does not fit the backbone") as caught:
        load(path)
    assert told in caught.value.problem
    assert str(path) in caught.value.problem


def test_a_file_with_other_names_altogether_loads_nothing(write: Callable[..., Path]) -> None:
    def rename(state: dict[str, Tensor]) -> None:
        for key in list(state):
            state[f"trunk_{key}"] = state.pop(key)

    with pytest.raises(CheckpointError, match=r"missing .*; .* unknown \(trunk_"):
        load(write(".pth", rename))


@pytest.mark.parametrize("content", [[1, 2], {"a": 3}, {"model": [1]}, torch.ones(3)])
def test_a_pth_file_without_a_state_dictionary_is_refused(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pth"
    torch.save(content, path)
    with pytest.raises(CheckpointError, match="holds no state dictionary"):
        load(path)


class Hostile:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("plain", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".npz", ".safetensors"])
def test_the_code_in_a_hostile_file_does_not_run(tmp_path: Path, plain: bool, suffix: str) -> None:
    path, trace = tmp_path / f"weights{suffix}", tmp_path / "trace"
    content = pickle.dumps({"norm.bias": Hostile(trace)}, protocol=2)
    pickle.loads(content)  # noqa: S301  # the trap works
    trace.unlink()
    if plain:
        path.write_bytes(content)
    elif suffix == ".npz":
        np.savez(path, **{"embedding/kernel": np.array(Hostile(trace), dtype=object)})
    else:
        torch.save({"norm.bias": Hostile(trace)}, path)
    with pytest.raises(CheckpointError):
        load(path)
    assert not trace.exists()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors", ".npz"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 half a zip file", b"\x80\x02"])
def test_a_damaged_file_is_told_with_its_path(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        load(path)
    assert str(path) in caught.value.problem
