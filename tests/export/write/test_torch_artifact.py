"""Artifacts for torch: loaded again as people will, and equal to the retrained network."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.data import resolve_model_data_config

import noah as noah_package
from export.artifact.manifest import check_files, read_manifest
from export.convert import to_timm
from export.convert.to_timm import check_is_plain, load_timm, write_timm
from noah.backbone.load import load_backbone
from noah.errors import ExportError
from noah.model import saved_modules
from noah.model.supernet import Supernet
from noah.prepare.context import prepare
from noah.progress import Silent
from noah.runs.folder import Run
from noah.space.subnet import Subnet
from noah.stages.retrain_stage import load_retrained
from tests.commands import file_contents, noah
from tests.conftest import PHOTO_CLASSES, TINY_ARCHITECTURE
from tests.finished import FLOAT, UINT8, Finished
from tests.noah.architectures import READS_FOLDERS


def real_images(run: Run) -> tuple[np.ndarray, torch.Tensor]:
    """Validation images, normalized, and the logits that the retrained subnet gives."""
    materials = prepare(run.settings(), Silent())
    model, subnet = load_retrained(run, materials)
    validation, preprocessing = materials.dataset.validation, materials.backbone.preprocessing
    pixels = np.stack([preprocessing.pixels(validation.open(index)) for index in range(len(validation))])
    images = preprocessing.normalize(pixels)
    with torch.inference_mode():
        return images, model(torch.from_numpy(images), subnet)


def test_modules_and_head_are_the_retrained_network(project: Finished) -> None:
    outcome = noah("export", "--format", "safetensors")
    assert (outcome.code, outcome.err) == (0, "")
    assert "loading it again, with the backbone" in outcome.words
    assert outcome.out.splitlines()[-1] == 'next      noah.load("runs/shapes/first/export/safetensors")'
    folder = project.artifact("safetensors")
    assert {path.name for path in folder.iterdir()} == {"modules.safetensors", "manifest.json", "model_card.md"}
    images, expected = real_images(Run(project.run))
    loaded = noah_package.load(folder)
    with torch.inference_mode():
        assert torch.equal(loaded(torch.from_numpy(images)), expected)
    assert loaded.classes == PHOTO_CLASSES


def test_its_manifest_and_card(project: Finished) -> None:
    assert noah("export", "--format", "safetensors").code == 0
    folder = project.artifact("safetensors")
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    assert (manifest.format, manifest.precision, manifest.opset) == ("safetensors", "fp32", None)
    assert manifest.types["weights"] == {"float32": len(load_file(folder / "modules.safetensors"))}
    (parity,) = manifest.parity
    assert parity.runs_on == "torch, by noah.load"
    assert [batch.batch for batch in parity.batches] == [1, 2, 32]
    assert all(batch.max_difference < 1e-5 for batch in parity.batches)
    card = (folder / "model_card.md").read_text(encoding="utf-8")
    assert '    noah.load("safetensors")' in card
    assert "without the backbone" in card


OLD_TIMM = "timm 1.0.20 reads no safetensors file from a folder"


@pytest.fixture(scope="module")
def lora_only(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """A run whose subnet has LoRA only, retrained and exported."""
    import contextlib

    copied = finished.copy(tmp_path_factory.mktemp("lora"))
    with contextlib.chdir(copied.folder):
        trained = noah("retrain", "--subnet", "lora:3", "--name", "given")
        assert trained.code == 0, trained.err
        outcome = noah("export", "--format", "timm")
        if not READS_FOLDERS:
            assert outcome.code == 1 and "reads no safetensors file from a folder" in outcome.err
            pytest.skip(OLD_TIMM)
    assert outcome.code == 0, outcome.err
    return Finished(copied.folder, {"export": outcome})


def test_a_plain_timm_model_is_the_retrained_network(lora_only: Finished) -> None:
    run = Run(lora_only.folder / "runs" / "shapes" / "given")
    folder = run.path("export", "timm")
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    images, expected = real_images(run)
    with torch.inference_mode():
        torch.testing.assert_close(model(torch.from_numpy(images)), expected, rtol=1e-5, atol=1e-5)
    assert type(model) is timm.models.vision_transformer.VisionTransformer
    config = resolve_model_data_config(model)
    preprocessing = read_manifest(folder).preprocessing
    assert tuple(config["input_size"]) == (3, preprocessing["height"], preprocessing["width"])
    assert list(config["mean"]) == preprocessing["mean"]
    assert list(config["std"]) == preprocessing["std"]
    assert (config["interpolation"], config["crop_mode"]) == (preprocessing["interpolation"], "squash")
    assert tuple(model.pretrained_cfg["label_names"]) == PHOTO_CLASSES


def test_its_folder_is_one_of_timm_and_has_its_proof(lora_only: Finished) -> None:
    folder = lora_only.folder / "runs" / "shapes" / "given" / "export" / "timm"
    manifest = read_manifest(folder)
    check_files(manifest, folder)
    assert set(manifest.files) == {"model.safetensors", "config.json"}
    assert manifest.parity[0].runs_on == "torch, by timm"
    assert 0 < max(batch.max_difference for batch in manifest.parity[0].batches) < 1e-5
    last = lora_only.outcomes["export"].out.splitlines()[-1]
    assert last == 'next      timm.create_model("local-dir:runs/shapes/given/export/timm", pretrained=True)'


def test_a_subnet_with_other_modules_is_refused_by_name(project: Finished) -> None:
    best = json.loads((project.run / "search" / "best.json").read_text())["subnet"]
    assert any(best["adapter"]) or any(best["prompt"])
    before = file_contents(project.run / "export")
    outcome = noah("export", "--format", "timm")
    assert outcome.code == 1
    problem, hint = outcome.error_lines
    assert problem.startswith("Error: The subnet has ")
    assert "noah retrain --subnet lora:8" in hint
    assert file_contents(project.run / "export") == before


def test_which_subnets_are_plain() -> None:
    check_is_plain(Subnet.uniform(3, lora=4))
    check_is_plain(Subnet.uniform(3))
    with pytest.raises(ExportError, match="The subnet has prompts in blocks 1, 3 and adapters in block 2, but a plain"):
        check_is_plain(Subnet(prompt=[1, 0, 2], lora=[1, 1, 1], adapter=[0, 4, 0]))


def test_lora_is_folded_and_nothing_else_is_changed(tiny_backbone_file: Path, tmp_path: Path) -> None:
    backbone = load_backbone(str(tiny_backbone_file), architecture=TINY_ARCHITECTURE, image_size=32)
    subnet = Subnet(prompt=[0] * 6, lora=[2, 0, 0, 0, 0, 1], adapter=[0] * 6)
    supernet = Supernet(backbone.model, subnet, num_classes=3).eval()
    with torch.no_grad():
        for lora in supernet.loras:
            lora.b.normal_()
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    write_timm(
        tmp_path,
        supernet,
        subnet,
        architecture="test_vit.r160_in1k",
        classes=PHOTO_CLASSES,
        preprocessing=backbone.preprocessing,
    )
    written = load_file(tmp_path / "model.safetensors")
    changed = {name for name, value in before.items() if not torch.equal(written[name], value)}
    assert changed == {"blocks.0.attn.qkv.weight", "blocks.5.attn.qkv.weight"}
    assert all(torch.equal(backbone.model.state_dict()[name], value) for name, value in before.items())
    assert json.loads((tmp_path / "config.json").read_text())["architecture"] == "test_vit"
    if not READS_FOLDERS:
        pytest.skip(OLD_TIMM)
    images = torch.randn(2, 3, 32, 32)
    with torch.inference_mode():
        torch.testing.assert_close(load_timm(tmp_path)(images), supernet(images, subnet), rtol=1e-5, atol=1e-5)


def test_what_timm_does_not_load_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"architecture": "no_such_vit", "pretrained_cfg": {}}')
    with pytest.raises(ExportError, match="timm cannot load what was written: "):
        load_timm(tmp_path)


@pytest.mark.parametrize("kind", ["safetensors", "timm"])
def test_a_network_that_comes_back_changed_gets_no_name(
    lora_only: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    copied = lora_only.copy(tmp_path / "copy")
    monkeypatch.chdir(copied.folder)
    reader = (to_timm, "load_timm") if kind == "timm" else (saved_modules, "load")
    original = getattr(*reader)

    def read(folder: Path) -> Any:
        network = original(folder)
        with torch.no_grad():
            head = network.head if kind == "timm" else network.supernet.head
            head.bias[0] += 0.5
        return network

    monkeypatch.setattr(*reader, read)
    folder = copied.folder / "runs" / "shapes" / "given" / "export"
    before = file_contents(folder)
    outcome = noah("export", "--format", kind)
    assert outcome.code == 1
    assert "fails the check of the largest difference" in outcome.error_lines[0]
    assert file_contents(folder) == before


def test_options_of_graphs_are_refused(project: Finished) -> None:
    outcome = noah("export", "--format", "safetensors", "--precision", "fp16", "--batch", "1:2:4")
    assert outcome.code == 2
    assert outcome.error_lines[0].startswith("Error: --precision has no effect with --format safetensors")
    assert outcome.error_lines[1] == "Leave out --precision and --batch."


def test_commands_do_not_run_it_and_say_what_does(project: Finished) -> None:
    assert noah("export", "--format", "safetensors").code == 0
    for command in (("predict", project.artifact("safetensors"), "x.png"), ("eval", project.artifact("safetensors"))):
        outcome = noah(*command)
        assert outcome.code == 1
        assert "is of format safetensors, which noah itself does not run." in outcome.error_lines[0]
        assert 'noah.load("' in outcome.error_lines[1]
    assert sorted(path.name for path in (project.run / "export").iterdir()) == [FLOAT, UINT8, "safetensors"]
