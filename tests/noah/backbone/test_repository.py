"""Repositories on the hub, as they lie in its cache, and folders of the same layout."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import getproxies

import huggingface_hub
import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from noah.backbone import repository
from noah.backbone.load import load_backbone
from noah.errors import (
    CheckpointError,
    DownloadError,
    NoahError,
    SettingsError,
    UnknownBackboneError,
    UnsupportedBackboneError,
)
from tests.noah.tiny_backbone import features, load

pytestmark = pytest.mark.usefixtures("one_thread", "without_network")

CONFIG: dict[str, Any] = {
    "architecture": "test_vit",
    "num_classes": 10,
    "model_args": {"img_size": 32, "num_classes": 10},
    "pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear", "crop_pct": 1.0},
}
Write = Callable[..., str]


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(host: object, *_: object, **__: object) -> None:
        raise socket.gaierror(-2, f"Name or service not known: {host!r}")

    for name in [*getproxies(), "all"]:
        for variable in (f"{name}_proxy", f"{name.upper()}_PROXY"):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture(params=["hub", "hub with a revision", "folder"])
def write(request: pytest.FixtureRequest, tmp_path: Path, tiny_backbone_file: Path) -> Write:
    """Writes the files of a repository into the hub's cache or a folder, and gives the name of the backbone."""

    def writer(config: object = CONFIG, change: Callable[[dict[str, Any]], Any] = lambda state: state) -> str:
        folder, name = tmp_path / "own", f"local-dir:{tmp_path / 'own'}"
        if request.param != "folder":
            revision = "v1" if "revision" in request.param else "main"
            repository = Path(huggingface_hub.constants.HF_HUB_CACHE) / "models--owner--name"
            (repository / "refs").mkdir(parents=True)
            (repository / "refs" / revision).write_text("0" * 40)
            folder = repository / "snapshots" / ("0" * 40)
            name = "hf-hub:owner/name" if revision == "main" else f"hf-hub:owner/name@{revision}"
        folder.mkdir(parents=True)
        if config is not None:
            (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
        state = change(load_file(tiny_backbone_file))
        if state is not None:
            save_file(state, folder / "model.safetensors")
        return name

    return writer


def test_architecture_preprocessing_and_weights_are_its_own(write: Write, tiny_backbone_file: Path) -> None:
    backbone = load_backbone(write())
    assert torch.equal(features(backbone.model), features(load(tiny_backbone_file).model))
    assert (backbone.architecture, backbone.image_size) == ("test_vit", (32, 32))
    assert (backbone.preprocessing.mean, backbone.preprocessing.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert backbone.preprocessing.interpolation == "bilinear"
    assert not backbone.from_file
    assert "architecture test_vit" in backbone.source


def test_its_size_can_be_another(write: Write) -> None:
    assert load_backbone(write(), image_size=64).image_size == (64, 64)


def test_arguments_of_its_constructor_and_the_users_become_the_architecture(write: Write) -> None:
    def scaled(state: dict[str, Any]) -> dict[str, Any]:
        return state | {f"blocks.{i}.ls{n}.gamma": torch.full((64,), 0.3) for i in range(6) for n in (1, 2)}

    name = write({**CONFIG, "model_args": {"img_size": 32, "qkv_bias": True}}, scaled)
    with pytest.raises(CheckpointError, match=r"12 unknown \(blocks\.0\.ls1\.gamma"):
        load_backbone(name)
    backbone = load_backbone(name, arguments={"init_values": 1e-5})
    assert backbone.architecture == "test_vit(init_values=1e-05, qkv_bias=True)"
    assert "built with init_values=1e-05, qkv_bias=True" in backbone.source
    assert backbone.model.blocks[0].ls1.gamma[0] == pytest.approx(0.3)  # type: ignore[index,union-attr]  # timm's


def test_without_timms_config_the_shapes_tell_the_architecture(write: Write, tiny_backbone_file: Path) -> None:
    backbone = load_backbone(write({"model_type": "vit", "hidden_size": 64}), image_size=32)
    assert torch.equal(features(backbone.model), features(load(tiny_backbone_file).model))
    assert "architecture test_vit: of all in timm" in backbone.notes[0]
    assert backbone.from_file


@pytest.mark.parametrize(
    ("config", "error", "told"),
    [
        ("{", CheckpointError, "config.json cannot be used"),
        ("[" * 100_000, CheckpointError, "config.json cannot be used"),
        ({**CONFIG, "architecture": "no_vit"}, UnknownBackboneError, "No backbone is named 'no_vit'"),
        ({**CONFIG, "architecture": "swin_tiny_patch4_window7_224"}, NoahError, "is not supported"),
        ({**CONFIG, "model_args": {"checkpoint_path": "x"}}, CheckpointError, "does not describe a network"),
        ({**CONFIG, "model_args": {"colour": 3}}, SettingsError, "does not take colour=3"),
        ({**CONFIG, "pretrained_cfg": 3}, CheckpointError, "pretrained_cfg is no mapping"),
    ],
)
def test_a_wrong_config_is_refused(write: Write, config: object, error: type[NoahError], told: str) -> None:
    with pytest.raises(error, match=told):
        load_backbone(write(config))


def test_a_repository_without_weights_is_told(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    name = write(CONFIG, lambda state: None)
    if name.startswith("hf-hub:"):  # the rest of it may have been left behind by a download that was interrupted
        with pytest.raises(DownloadError, match=r"weights of owner/name\S* cannot be downloaded: .*not known"):
            load_backbone(name)
        monkeypatch.setattr(repository, "why_away", lambda: None)
    with pytest.raises(UnknownBackboneError, match=r"has no weights: none of model\.safetensors"):
        load_backbone(name)


def test_an_architecture_that_is_named_in_vain_is_told(write: Write) -> None:
    name = write()
    assert load_backbone(name, architecture="test_vit").notes == load_backbone(name).notes
    for asked in ("test_vit2", "test_vit(init_values=1e-05)"):
        backbone = load_backbone(name, architecture=asked)
        assert backbone.architecture == "test_vit"
        assert backbone.notes[0].startswith(f"WARNING: --backbone-arch {asked} is not used, because {name} has")


def test_what_is_not_in_the_cache_needs_the_network() -> None:
    with pytest.raises(DownloadError, match="weights of owner/other@v2 cannot be downloaded"):
        load_backbone("hf-hub:owner/other@v2")


def test_several_files_of_weights_in_a_folder_are_told(tmp_path: Path, tiny_backbone_file: Path) -> None:
    for name in ("first.safetensors", "second.safetensors"):
        (tmp_path / name).write_bytes(tiny_backbone_file.read_bytes())
    with pytest.raises(UnknownBackboneError, match=r"several files of weights: first\.safetensors, second"):
        load_backbone(f"local-dir:{tmp_path}")
    (tmp_path / "second.safetensors").unlink()
    assert load_backbone(f"local-dir:{tmp_path}", image_size=32).architecture == "test_vit"


def test_weights_of_timm_with_arguments_that_they_do_not_have_are_refused(tiny_backbone_file: Path) -> None:
    repository = Path(huggingface_hub.constants.HF_HUB_CACHE) / "models--timm--test_vit.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("0" * 40) / "model.safetensors").write_bytes(tiny_backbone_file.read_bytes())
    backbone = load_backbone("timm/test_vit.r160_in1k", image_size=32)
    license_of_weights = timm.get_pretrained_cfg("test_vit.r160_in1k").license  # which timm 1.0.20 does not know
    known = [f"license of the weights, as timm has it: {license_of_weights}"] if license_of_weights else []
    assert backbone.notes == ("timm/test_vit.r160_in1k is the repository of timm's test_vit.r160_in1k", *known)
    with pytest.raises(CheckpointError, match=r"have nothing for what --backbone-arg adds: blocks\.0\.ls1\.gamma"):
        load_backbone("test_vit.r160_in1k", image_size=32, arguments={"init_values": 0.1})
    with pytest.raises(SettingsError, match=r"backbone\.arguments: test_vit\.r160_in1k does not take colour=3"):
        load_backbone("test_vit.r160_in1k", image_size=32, arguments={"colour": 3})


def test_a_refused_architecture_is_told_with_the_nearest() -> None:
    with pytest.raises(UnsupportedBackboneError) as caught:
        load_backbone("swin_tiny_patch4_window7_224")
    assert "The nearest that is: " in caught.value.hint
    assert "noah backbones" in caught.value.hint
