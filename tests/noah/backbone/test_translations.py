"""Weights by other libraries' names: compared with the networks of `transformers` that they belong to.

`transformers` is not needed for noah, only for these tests; each fails with what to install if it is missing.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from noah.backbone.architecture import Architecture
from noah.backbone.fit import fit
from noah.backbone.unwrap import unwrap

pytestmark = pytest.mark.usefixtures("one_thread")

SIZE = {
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 3,
    "intermediate_size": 48,
    "image_size": 32,
    "patch_size": 8,
}
OURS = {"embed_dim": 24, "depth": 3, "num_heads": 3, "img_size": 32, "patch_size": 8, "mlp_ratio": 2}


def transformers() -> Any:
    try:
        import transformers as library
    except ImportError:
        pytest.fail("transformers is missing. Type: pip install 'noah-prompt-search[dev]'")
    return library


def vit(t: Any) -> tuple[Any, Callable[[Tensor], Tensor]]:
    model = t.ViTForImageClassification(t.ViTConfig(**SIZE, layer_norm_eps=1e-6)).vit
    return model, lambda images: model(images).last_hidden_state


def dinov2(t: Any) -> tuple[Any, Callable[[Tensor], Tensor]]:
    model = t.Dinov2ForImageClassification(t.Dinov2Config(**SIZE, mlp_ratio=2, layer_norm_eps=1e-6)).dinov2
    return model, lambda images: model(images).last_hidden_state


def dinov2_gated(t: Any) -> tuple[Any, Callable[[Tensor], Tensor]]:
    config = t.Dinov2WithRegistersConfig(
        **SIZE, mlp_ratio=2, use_swiglu_ffn=True, num_register_tokens=4, layer_norm_eps=1e-6
    )
    model = t.Dinov2WithRegistersModel(config)
    return model, lambda images: model(images).last_hidden_state


def dinov3(t: Any) -> tuple[Any, Callable[[Tensor], Tensor]]:
    model = t.DINOv3ViTModel(t.DINOv3ViTConfig(**SIZE, num_register_tokens=4, layer_norm_eps=1e-5))
    return model, lambda images: model(images).last_hidden_state


def dinov3_gated(t: Any) -> tuple[Any, Callable[[Tensor], Tensor]]:
    config = t.DINOv3ViTConfig(
        **SIZE, num_register_tokens=4, use_gated_mlp=True, hidden_act="silu", layer_norm_eps=1e-5
    )
    model = t.DINOv3ViTModel(config)
    return model, lambda images: model(images).last_hidden_state


def clip(t: Any) -> tuple[Any, Callable[[Tensor], Tensor]]:
    model = t.CLIPVisionModelWithProjection(t.CLIPVisionConfig(**SIZE, hidden_act="quick_gelu")).vision_model
    return model, lambda images: model(images).pooler_output


def siglip(t: Any) -> tuple[Any, Callable[[Tensor], Tensor]]:
    model = t.SiglipVisionModel(t.SiglipVisionConfig(**SIZE, hidden_act="gelu"))
    return model, lambda images: model(images).pooler_output


FAMILIES: dict[str, tuple[Callable[[Any], Any], Architecture, str]] = {
    "ViT": (vit, Architecture("vit_base_patch16_224", OURS), "tokens"),
    "DINOv2": (dinov2, Architecture("vit_small_patch14_dinov2", OURS), "tokens"),
    "DINOv2 with registers, gated": (
        dinov2_gated,
        Architecture("vit_giant_patch14_reg4_dinov2", {**OURS, "mlp_ratio": 64 / 24}),
        "tokens",
    ),
    "DINOv3": (dinov3, Architecture("vit_small_patch16_dinov3_qkvb", OURS), "tokens"),
    "DINOv3 gated": (dinov3_gated, Architecture("vit_small_plus_patch16_dinov3_qkvb", OURS), "tokens"),
    "CLIP": (clip, Architecture("vit_base_patch16_clip_quickgelu_224", OURS), "features"),
    "SigLIP": (siglip, Architecture("vit_base_patch16_siglip_224", OURS), "features"),
}


def randomized(model: torch.nn.Module) -> torch.nn.Module:
    """Move every weight off its initial value, so that none is hidden by a zero or a one."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return model.double().eval()


def ours(architecture: Architecture) -> Any:
    import timm

    return timm.create_model(architecture.name, num_classes=0, **architecture.arguments).double().eval()


def close(architecture: Architecture, state: dict[str, Tensor], images: Tensor, expected: Tensor, what: str) -> None:
    model = ours(architecture)
    told = unwrap(state)
    assert "translated from Hugging Face's" in told.told
    fit(model, architecture, told.state, "weights")
    with torch.no_grad():
        tokens = model.forward_features(images)
        found = tokens if what == "tokens" else model.forward_head(tokens, pre_logits=True)
    # transformers computes the rotation of DINOv3 in float32, whatever the network is in.
    tolerance = 1e-6 if "dinov3" in architecture.name else 1e-9
    torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_of_transformers_computes_the_same(family: str) -> None:
    make, architecture, what = FAMILIES[family]
    model, compute = make(transformers())
    randomized(model)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = compute(images)
    close(architecture, model.state_dict(), images, expected, what)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_that_transformers_saved_computes_the_same(tmp_path: Path, family: str) -> None:
    """The names in files are older ones than those in memory."""
    from safetensors.torch import load_file

    make, architecture, what = FAMILIES[family]
    model, compute = make(transformers())
    if not hasattr(model, "save_pretrained"):
        pytest.skip("transformers 4.56 saves this as a part of a larger model alone")
    randomized(model)
    images = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        expected = compute(images)
    model.save_pretrained(tmp_path)
    close(architecture, load_file(tmp_path / "model.safetensors"), images, expected, what)


def clip_by_openai(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names in which OpenAI published CLIP."""
    swaps = (
        ("attn.qkv.", "attn.in_proj_"),
        ("attn.proj.", "attn.out_proj."),
        ("mlp.fc1", "mlp.c_fc"),
        ("mlp.fc2", "mlp.c_proj"),
        ("norm_pre", "ln_pre"),
        ("norm1", "ln_1"),
        ("norm2", "ln_2"),
        ("blocks.", "transformer.resblocks."),
        ("patch_embed.proj", "conv1"),
        ("cls_token", "class_embedding"),
        ("pos_embed", "positional_embedding"),
    )
    renamed = {}
    for name, value in state.items():
        place = name if not name.startswith("norm.") else name.replace("norm.", "ln_post.")
        for old, new in swaps:
            place = place.replace(old, new)
        shape = {"class_embedding": value.shape[-1:], "positional_embedding": value.shape[1:]}.get(place, value.shape)
        renamed[f"visual.{place}"] = value.reshape(shape)
    return renamed


@pytest.mark.parametrize("norm", ["pre_layrnorm", "post_layernorm"])
def test_numbers_of_positions_are_no_weight(norm: str) -> None:
    """Files of CLIP and SigLIP by earlier versions of transformers hold them."""
    state = {
        "vision_model.embeddings.patch_embedding.weight": torch.ones(24, 3, 8, 8),
        "vision_model.embeddings.position_embedding.weight": torch.ones(16, 24),
        "vision_model.embeddings.position_ids": torch.arange(16)[None],
        f"vision_model.{norm}.weight": torch.ones(24),
    }
    assert {name.split(".")[0] for name in unwrap(state).state} == {
        "patch_embed",
        "pos_embed",
        "norm_pre" if norm == "pre_layrnorm" else "norm",
    }


def test_a_file_of_openai_is_translated(tmp_path: Path) -> None:
    architecture = FAMILIES["CLIP"][1]
    model = randomized(ours(architecture))
    words = {"token_embedding.weight": torch.ones(3, 4), "visual.proj": torch.ones(24, 8)}
    told = unwrap({**clip_by_openai(model.state_dict()), **words})
    assert told.told == (
        "without the prefix 'visual.'; translated from OpenAI's CLIP; "
        "left out token_embedding (1 weight), head (1 weight)"
    )
    again = ours(architecture)
    fit(again, architecture, told.state, "weights")
    save_file(again.state_dict(), tmp_path / "again.safetensors")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in model.state_dict().items())
