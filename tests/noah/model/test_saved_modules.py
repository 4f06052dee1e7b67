"""Modules and head in a file of their own: what comes back is the network that went in, or an error."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

import noah
from noah.backbone.load import Backbone, load_backbone
from noah.errors import ArtifactError, CheckpointError, UnknownBackboneError
from noah.model.saved_modules import MODULES_FILE, load, read_saved, save_modules
from noah.model.supernet import Supernet
from noah.settings.settings import BackboneSettings
from noah.space.subnet import Subnet
from tests.conftest import TINY_ARCHITECTURE, TINY_IMAGE_SIZE

CLASSES = ("café", "dog", "鳥")
SUBNET = Subnet(prompt=[3, 0, 2, 0, 0, 0], lora=[4, 2, 0, 0, 1, 0], adapter=[0, 5, 0, 0, 0, 3])


@pytest.fixture(scope="module")
def settings(tiny_backbone_file: Path) -> BackboneSettings:
    return BackboneSettings(
        name=str(tiny_backbone_file), architecture=TINY_ARCHITECTURE, image_size=TINY_IMAGE_SIZE, resize="squash"
    )


@pytest.fixture(scope="module")
def backbone(settings: BackboneSettings) -> Backbone:
    return load_backbone(
        settings.name, architecture=settings.architecture, image_size=settings.image_size, resize=settings.resize
    )


def trained(backbone: nn.Module, subnet: Subnet = SUBNET) -> Supernet:
    """A supernet whose every module matters, as after training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        model = Supernet(backbone, subnet, num_classes=len(CLASSES)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if not name.startswith("backbone."):
                    parameter.normal_(std=0.2)
    return model


@pytest.fixture(scope="module")
def file(backbone: Backbone, settings: BackboneSettings, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / MODULES_FILE
    save_modules(
        path,
        trained(backbone.model),
        SUBNET,
        classes=CLASSES,
        preprocessing=backbone.preprocessing,
        backbone=settings,
        architecture=backbone.architecture,
    )
    return path


def test_strengths_come_back(backbone: Backbone, settings: BackboneSettings, tmp_path: Path) -> None:
    full = trained(backbone.model)
    strong = Supernet(backbone.model, SUBNET, num_classes=len(CLASSES), strengths={"lora": 2.0, "adapter": 0.5}).eval()
    strong.load_trainable_state(full.trainable_state())
    save_modules(
        tmp_path / MODULES_FILE,
        strong,
        SUBNET,
        classes=CLASSES,
        preprocessing=backbone.preprocessing,
        backbone=settings,
        architecture=backbone.architecture,
    )
    with torch.inference_mode():
        found = noah.load(tmp_path)(images())
        # Not to the bit: on some processors that depends on where weights lie in memory.
        torch.testing.assert_close(found, strong(images(), SUBNET), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(found, full(images(), SUBNET))


def images(count: int = 4) -> torch.Tensor:
    return torch.randn(count, 3, TINY_IMAGE_SIZE, TINY_IMAGE_SIZE, generator=torch.Generator().manual_seed(count))


def changed(file: Path, to: Path, change: Callable[[dict[str, str], dict[str, torch.Tensor]], None]) -> Path:
    """A copy with other notes or weights."""
    with safe_open(file, framework="pt") as opened:
        notes = dict(opened.metadata())
    weights = load_file(file)
    change(notes, weights)
    save_file(weights, to / MODULES_FILE, metadata=notes)
    return to / MODULES_FILE


@pytest.mark.parametrize("way", ["by name", "given", "another name", "folder"])
def test_what_comes_back_gives_the_same_bits(
    file: Path, backbone: Backbone, settings: BackboneSettings, way: str
) -> None:
    expected = trained(backbone.model)
    given = {"given": backbone.model, "another name": settings.name}.get(way)
    loaded = noah.load(file.parent if way == "folder" else file, backbone=given)
    with torch.inference_mode():
        found = loaded(images())
        assert torch.equal(found, expected(images(), SUBNET))
        torch.testing.assert_close(loaded.merge()(images()), found, rtol=1e-5, atol=1e-5)
    assert (loaded.classes, loaded.preprocessing, loaded.subnet) == (CLASSES, backbone.preprocessing, SUBNET)
    assert not loaded.training


def test_the_file_holds_no_backbone_and_can_be_read_by_everyone(file: Path, backbone: Backbone) -> None:
    _, weights = read_saved(file)
    assert not any(name.startswith("backbone.") for name in weights)
    trained_weights = sum(value.numel() for value in weights.values())
    assert trained_weights == SUBNET.parameter_count(64) + 3 * 64 + 3
    assert file.stat().st_size < 4 * trained_weights + 20_000
    if os.name != "nt":
        plain = file.with_name("plain")
        plain.write_bytes(b"")
        assert stat.S_IMODE(file.stat().st_mode) == stat.S_IMODE(plain.stat().st_mode)


def test_modules_can_be_trained_on_and_the_backbone_cannot(file: Path) -> None:
    loaded = noah.load(file)
    loaded(images()).sum().backward()
    moved = {name for name, parameter in loaded.named_parameters() if parameter.grad is not None}
    assert "supernet.head.weight" in moved
    assert not any("backbone" in name for name in moved)


def other_weights(model: Any) -> None:
    with torch.no_grad():
        model.blocks[2].mlp.fc1.weight[3] += 0.05


def another_norm(model: Any) -> None:
    model.blocks[4].norm1.weight.data *= 1.02


@pytest.mark.parametrize("change", [other_weights, another_norm])
def test_another_backbone_is_noticed(file: Path, settings: BackboneSettings, change: Callable[[Any], None]) -> None:
    other = load_backbone(settings.name, architecture=settings.architecture, image_size=settings.image_size).model
    change(other)
    with pytest.raises(CheckpointError, match="has other weights than the one") as raised:
        noah.load(file, backbone=other)
    assert raised.value.hint == f"Give the backbone of the run, {settings.name} (test_vit) at 32 x 32 px."


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"img_size": 48}, "has other weights than the one"),  # its position embedding is of another size
        ({"img_size": 48, "dynamic_img_size": False}, "does not take the images of"),
        ({"img_size": 32, "embed_dim": 32, "num_heads": 2}, "do not fit the backbone"),
    ],
)
def test_a_backbone_of_another_shape_is_refused(file: Path, options: dict[str, int], problem: str) -> None:
    other = timm.create_model(TINY_ARCHITECTURE, num_classes=0, **options)
    with pytest.raises(CheckpointError, match=problem):
        noah.load(file, backbone=other)


def test_a_backbone_that_is_gone_asks_for_another_place(file: Path, tmp_path: Path) -> None:
    def move(notes: dict[str, str], _: object) -> None:
        settings = json.loads(notes["noah.backbone"])
        notes["noah.backbone"] = json.dumps({**settings, "name": "/gone/vit.safetensors"})

    moved = changed(file, tmp_path, move)
    with pytest.raises(UnknownBackboneError, match=r"/gone/vit\.safetensors does not exist") as raised:
        noah.load(moved)
    assert "backbone=..." in raised.value.hint


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("subnet", None, "'subnet' is missing"),
        ("subnet", '{"prompt": [1]}', "expected the keys prompt, lora and adapter"),
        ("classes", "3", "holds no modules of noah"),
        ("preprocessing", "{}", "The preprocessing stored in the artifact is wrong"),
        ("backbone", '{"nmae": "x"}', "holds no modules of noah"),
        ("probe", '["x"]', "holds no modules of noah"),
        ("strengths", '["lora"]', "holds no modules of noah"),
        ("strengths", '{"lora": "strong"}', "holds no modules of noah"),
        ("classes", "{", "cannot be read"),
        ("format_version", "99", "format_version 99"),
    ],
)
def test_damaged_notes_are_named(file: Path, tmp_path: Path, key: str, value: str | None, problem: str) -> None:
    def damage(notes: dict[str, str], _: object) -> None:
        if value is None:
            del notes[f"noah.{key}"]
        else:
            notes[f"noah.{key}"] = value

    with pytest.raises(ArtifactError, match=problem):
        load(changed(file, tmp_path, damage))


def test_weights_that_were_changed_are_noticed(file: Path, tmp_path: Path) -> None:
    def change(_: object, weights: dict[str, torch.Tensor]) -> None:
        weights["adapters.1.down"][2] += 0.5

    with pytest.raises(CheckpointError, match="other weights"):
        load(changed(file, tmp_path, change))


def test_what_is_no_such_file(tmp_path: Path, tiny_backbone_file: Path) -> None:
    with pytest.raises(ArtifactError, match=r"modules\.safetensors does not exist"):
        load(tmp_path)
    (tmp_path / MODULES_FILE).write_bytes(b"nonsense")
    with pytest.raises(ArtifactError, match="cannot be read"):
        load(tmp_path)
    with pytest.raises(ArtifactError, match="'subnet' is missing"):
        load(tiny_backbone_file)


def test_a_larger_supernet_is_not_saved(backbone: Backbone, settings: BackboneSettings, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="would be saved whole"):
        save_modules(
            tmp_path / MODULES_FILE,
            trained(backbone.model),
            Subnet.uniform(6, lora=1),
            classes=CLASSES,
            preprocessing=backbone.preprocessing,
            backbone=settings,
            architecture=TINY_ARCHITECTURE,
        )
