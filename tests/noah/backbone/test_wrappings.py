"""One tiny network saved in the ways of other people's trainings: each way gives the same logits, or is refused."""

from __future__ import annotations

import argparse
import pathlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from noah.backbone.load import load_backbone
from noah.errors import CheckpointError
from tests.conftest import TINY_ARCHITECTURE, TINY_IMAGE_SIZE
from tests.noah.tiny_backbone import features, load

pytestmark = pytest.mark.usefixtures("one_thread")

State = dict[str, Any]


def behind(prefix: str, state: State) -> State:
    return {f"{prefix}{name}": value for name, value in state.items()}


def other(state: State) -> State:
    """Weights of a network that has the same names and must not be taken."""
    return {name: value + 1 for name, value in state.items()}


def decoder() -> State:
    return {"decoder_blocks.0.norm1.weight": torch.ones(8), "decoder_pred.bias": torch.ones(8)}


def settings() -> dict[str, Any]:
    return {
        "epoch": 3,
        "args": argparse.Namespace(lr=0.1, output_dir=pathlib.PurePosixPath("runs/1"), best=np.float64(0.5)),
        "optimizer": {"state": {0: {"step": torch.tensor(4.0), "exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 1}]},
    }


WRAPPINGS: dict[str, tuple[Callable[[State], Any], str]] = {
    "the weights alone": (lambda s: s, ""),
    "state_dict": (lambda s: {"state_dict": s, "epoch": 3}, "took 'state_dict'"),
    "MAE": (
        lambda s: {"model": {**s, **decoder(), "mask_token": torch.ones(1, 1, 64)}, **settings()},
        "took 'model'; left out head (2 weights), decoder (2 weights); left out mask_token",
    ),
    "DINO": (
        lambda s: {
            "student": behind("module.backbone.", other(s)),
            "teacher": {**behind("backbone.", s), "head.mlp.0.weight": torch.ones(4, 4)},
            **settings(),
        },
        "took 'teacher' (not 'student'); without the prefix 'backbone.'; left out head",
    ),
    "timm's training": (
        lambda s: {"state_dict": other(s), "state_dict_ema": s, "arch": "test_vit", **settings()},
        "took 'state_dict_ema' (not 'state_dict')",
    ),
    "several GPUs": (lambda s: {"module": behind("module.", s)}, "took 'module'; without the prefix 'module.'"),
    "compiled": (
        lambda s: behind("_orig_mod.module.", s),
        "without torch's wrappers; without the prefix 'module.'",
    ),
    "each block compiled": (
        lambda s: {name.replace(".attn.", "._orig_mod.attn."): value for name, value in s.items()},
        "without torch's wrappers",
    ),
    "Lightning": (
        lambda s: {"state_dict": {**behind("model.backbone.", s), "projector.0.weight": torch.ones(4, 4)}},
        "took 'state_dict'; without the prefix 'model.backbone.'; left out projector (1 weight)",
    ),
    "MoCo": (
        lambda s: {
            "state_dict": {
                **behind("module.base_encoder.", s),
                **behind("module.momentum_encoder.", other(s)),
                "module.predictor.0.weight": torch.ones(4, 4),
            },
            **settings(),
        },
        "without the prefix 'module.base_encoder.'; left out module",
    ),
    "an average inside": (
        lambda s: {"ema": {"module": s, "decay": 0.99}, "model": other(s)},
        "took 'ema' (not 'model'); took 'module'",
    ),
    "I-JEPA": (
        lambda s: {
            "encoder": behind("module.", other(s)),
            "predictor": {"module.predictor_blocks.0.norm1.weight": torch.ones(4)},
            "target_encoder": behind("module.", s),
        },
        "took 'target_encoder' (not 'encoder'); without the prefix 'module.'",
    ),
    "encoder and decoder": (
        lambda s: {"model_state_dict": {**behind("encoder.", s), **behind("decoder.", other(s))}},
        "without the prefix 'encoder.'; left out decoder",
    ),
    "blocks in chunks": (
        lambda s: {
            "teacher": {
                f"backbone.{name.replace('blocks.', f'blocks.{int(name.split(chr(46))[1]) // 3}.')}"
                if name.startswith("blocks.")
                else f"backbone.{name}": value
                for name, value in s.items()
            }
        },
        "blocks out of their chunks; without the prefix 'backbone.'",
    ),
}


@pytest.mark.parametrize("way", WRAPPINGS)
def test_every_wrapping_gives_the_same_features(tmp_path: Path, tiny_backbone_file: Path, way: str) -> None:
    wrap, told = WRAPPINGS[way]
    path = tmp_path / "checkpoint.pth.tar"
    torch.save(wrap(load_file(tiny_backbone_file)), path)
    backbone = load(path)
    assert torch.equal(features(backbone.model), features(load(tiny_backbone_file).model))
    (note,) = backbone.notes  # what was done is one line
    assert told in note
    assert "left out" in note
    assert "resampled pos_embed from 1 x 101 x 64 to 1 x 5 x 64" in note


@pytest.mark.parametrize("way", WRAPPINGS)
def test_the_architecture_is_told_by_the_shapes(tmp_path: Path, tiny_backbone_file: Path, way: str) -> None:
    path = tmp_path / "checkpoint.pth"
    torch.save(WRAPPINGS[way][0](load_file(tiny_backbone_file)), path)
    backbone = load_backbone(str(path), image_size=TINY_IMAGE_SIZE)
    assert backbone.architecture == TINY_ARCHITECTURE
    assert backbone.notes[0] == "architecture test_vit: of all in timm, only it has weights of these names and shapes"


class Hostile:
    """Unpickled, it creates a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("way", WRAPPINGS)
def test_a_hostile_file_of_every_wrapping_is_refused(
    tmp_path: Path, tiny_backbone_file: Path, way: str, zipped: bool
) -> None:
    path, trace = tmp_path / "checkpoint.pth", tmp_path / "trace"
    content = WRAPPINGS[way][0](load_file(tiny_backbone_file))
    args = argparse.Namespace(lr=0.1, hook=Hostile(trace))
    pickle.loads(pickle.dumps(args))  # noqa: S301  # the trap works
    trace.unlink()
    torch.save({**content, "args": args}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match="could run code") as caught:
        load(path)
    assert str(path) in caught.value.problem
    assert not trace.exists()


def test_settings_cannot_take_the_place_of_a_class_that_acts(tmp_path: Path, tiny_backbone_file: Path) -> None:
    """An object that stands for settings keeps nothing, so nothing can be reached through it."""
    path = tmp_path / "checkpoint.pth"
    torch.save({"model": load_file(tiny_backbone_file), "norm.bias": argparse.Namespace(data=1)}, path)
    assert load(path).notes
    torch.save({**load_file(tiny_backbone_file), "norm.bias": argparse.Namespace(data=1)}, path)
    with pytest.raises(CheckpointError, match=r"'norm\.bias' is not the name of a tensor"):
        load(path)


def test_several_networks_of_which_none_is_better_are_refused(tmp_path: Path, tiny_backbone_file: Path) -> None:
    state = load_file(tiny_backbone_file)
    path = tmp_path / "two.safetensors"
    save_file({**behind("left.", state), **behind("right.", other(state))}, path)
    with pytest.raises(CheckpointError, match=r"several networks \('left\.', 'right\.'\)"):
        load(path)


def test_an_error_tells_what_was_tried_and_what_the_weights_look_like(tmp_path: Path, tiny_backbone_file: Path) -> None:
    state: dict[str, Tensor] = load_file(tiny_backbone_file)
    path = tmp_path / "checkpoint.pth"
    torch.save({"teacher": behind("backbone.", state)}, path)
    with pytest.raises(CheckpointError) as caught:
        load(path, architecture="vit_tiny_patch16_224")
    assert "does not fit the backbone vit_tiny_patch16_224: " in caught.value.problem
    assert "This was done to the file: took 'teacher'; without the prefix 'backbone.'" in caught.value.problem
    assert caught.value.hint == "These weights look like test_vit. Check --backbone-arch."
