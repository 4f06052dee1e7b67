"""Names that other libraries give weights, and timm's names for the same weights.

A name stands here only if timm's weights are the same numbers, converted. What is merely similar is left to the list of
near names in an error.
"""

from __future__ import annotations

import re

_SIZES = {"small": "small", "base": "base", "large": "large", "giant": "giant"}
_LETTERS = {"s": "small", "b": "base", "l": "large", "g": "giant"}
_DINOV3 = {
    "vits16": "small",
    "vits16plus": "small_plus",
    "vitb16": "base",
    "vitl16": "large",
    "vith16plus": "huge_plus",
    "vit7b16": "7b",
}
_CLIP = {
    "base-patch32": "base_patch32_clip_quickgelu_224",
    "base-patch16": "base_patch16_clip_quickgelu_224",
    "large-patch14": "large_patch14_clip_quickgelu_224",
    "large-patch14-336": "large_patch14_clip_quickgelu_336",
}
_SIGLIP = {
    "base-patch16-224": "base_patch16_siglip_224",
    "base-patch16-256": "base_patch16_siglip_256",
    "base-patch16-384": "base_patch16_siglip_384",
    "base-patch16-512": "base_patch16_siglip_512",
    "large-patch16-256": "large_patch16_siglip_256",
    "large-patch16-384": "large_patch16_siglip_384",
    "so400m-patch14-384": "so400m_patch14_siglip_384",
}
_SIGLIP2 = {
    "base-patch32-256": "base_patch32_siglip_256",
    **{name: siglip for name, siglip in _SIGLIP.items() if not name.startswith("so400m")},
    "large-patch16-512": "large_patch16_siglip_512",
    "so400m-patch14-224": "so400m_patch14_siglip_224",
    "so400m-patch14-384": "so400m_patch14_siglip_378",
    "so400m-patch16-256": "so400m_patch16_siglip_256",
    "so400m-patch16-384": "so400m_patch16_siglip_384",
    "so400m-patch16-512": "so400m_patch16_siglip_512",
    "giant-opt-patch16-256": "giantopt_patch16_siglip_256",
    "giant-opt-patch16-384": "giantopt_patch16_siglip_384",
}
_MAE = {"base": "base_patch16_224", "large": "large_patch16_224", "huge": "huge_patch14_224"}
_LVD, _SAT = "lvd1689m", "sat493m"

SPELLINGS: dict[str, str] = {
    **{f"facebook/dinov2-{size}": f"vit_{ours}_patch14_dinov2.lvd142m" for size, ours in _SIZES.items()},
    **{
        f"facebook/dinov2-with-registers-{size}": f"vit_{ours}_patch14_reg4_dinov2.lvd142m"
        for size, ours in _SIZES.items()
    },
    **{f"dinov2_vit{letter}14": f"vit_{ours}_patch14_dinov2.lvd142m" for letter, ours in _LETTERS.items()},
    **{f"dinov2_vit{letter}14_reg": f"vit_{ours}_patch14_reg4_dinov2.lvd142m" for letter, ours in _LETTERS.items()},
    **{
        f"facebook/dinov3-{name}-pretrain-{_LVD}": f"vit_{ours}_patch16_dinov3.{_LVD}" for name, ours in _DINOV3.items()
    },
    **{f"dinov3_{name}": f"vit_{ours}_patch16_dinov3.{_LVD}" for name, ours in _DINOV3.items()},
    f"facebook/dinov3-vitl16-pretrain-{_SAT}": f"vit_large_patch16_dinov3.{_SAT}",
    f"facebook/dinov3-vit7b16-pretrain-{_SAT}": f"vit_7b_patch16_dinov3.{_SAT}",
    **{f"openai/clip-vit-{size}": f"vit_{ours}.openai" for size, ours in _CLIP.items()},
    **{f"google/siglip-{size}": f"vit_{ours}.webli" for size, ours in _SIGLIP.items()},
    **{f"google/siglip2-{size}": f"vit_{ours}.v2_webli" for size, ours in _SIGLIP2.items()},
    "google/vit-base-patch16-224": "vit_base_patch16_224.orig_in21k_ft_in1k",
    "google/vit-base-patch16-384": "vit_base_patch16_384.orig_in21k_ft_in1k",
    "google/vit-base-patch16-224-in21k": "vit_base_patch16_224.orig_in21k",
    "google/vit-base-patch32-224-in21k": "vit_base_patch32_224.orig_in21k",
    "google/vit-large-patch16-224-in21k": "vit_large_patch16_224.orig_in21k",
    "google/vit-large-patch32-224-in21k": "vit_large_patch32_224.orig_in21k",
    "google/vit-large-patch32-384": "vit_large_patch32_384.orig_in21k_ft_in1k",
    "google/vit-huge-patch14-224-in21k": "vit_huge_patch14_224.orig_in21k",
    **{f"facebook/vit-mae-{size}": f"vit_{ours}.mae" for size, ours in _MAE.items()},
    "facebook/dino-vits16": "vit_small_patch16_224.dino",
    "facebook/dino-vits8": "vit_small_patch8_224.dino",
    "facebook/dino-vitb16": "vit_base_patch16_224.dino",
    "facebook/dino-vitb8": "vit_base_patch8_224.dino",
    **{f"facebook/deit-{size}-patch16-224": f"deit_{size}_patch16_224.fb_in1k" for size in ("tiny", "small", "base")},
    "facebook/deit-base-patch16-384": "deit_base_patch16_384.fb_in1k",
    **{
        f"facebook/deit-{size}-distilled-patch16-224": f"deit_{size}_distilled_patch16_224.fb_in1k"
        for size in ("tiny", "small", "base")
    },
    "facebook/deit-base-distilled-patch16-384": "deit_base_distilled_patch16_384.fb_in1k",
    "microsoft/beit-base-patch16-224": "beit_base_patch16_224.in22k_ft_in22k_in1k",
    "microsoft/beit-base-patch16-384": "beit_base_patch16_384.in22k_ft_in22k_in1k",
    "microsoft/beit-base-patch16-224-pt22k-ft22k": "beit_base_patch16_224.in22k_ft_in22k",
    "microsoft/beit-large-patch16-224": "beit_large_patch16_224.in22k_ft_in22k_in1k",
    "microsoft/beit-large-patch16-384": "beit_large_patch16_384.in22k_ft_in22k_in1k",
    "microsoft/beit-large-patch16-512": "beit_large_patch16_512.in22k_ft_in22k_in1k",
    "microsoft/beit-large-patch16-224-pt22k-ft22k": "beit_large_patch16_224.in22k_ft_in22k",
    "laion/CLIP-ViT-B-32-laion2B-s34B-b79K": "vit_base_patch32_clip_224.laion2b",
    "laion/CLIP-ViT-B-16-laion2B-s34B-b88K": "vit_base_patch16_clip_224.laion2b",
    "laion/CLIP-ViT-L-14-laion2B-s32B-b82K": "vit_large_patch14_clip_224.laion2b",
    "laion/CLIP-ViT-H-14-laion2B-s32B-b79K": "vit_huge_patch14_clip_224.laion2b",
    "laion/CLIP-ViT-g-14-laion2B-s12B-b42K": "vit_giant_patch14_clip_224.laion2b",
    **{
        f"apple/aimv2-{size}-patch14-{side}": f"aimv2_{size.lower()}_patch14_{side}.apple_pt"
        for size in ("large", "huge", "1B", "3B")
        for side in (224, 336, 448)
    },
    "facebook/PE-Core-B16-224": "vit_pe_core_base_patch16_224.fb",
    "facebook/PE-Core-L14-336": "vit_pe_core_large_patch14_336.fb",
    "facebook/PE-Core-G14-448": "vit_pe_core_gigantic_patch14_448.fb",
}
"""Names on Hugging Face's hub and in torch.hub, with timm's name and tag of the same weights."""

_ADDRESS = re.compile(r"^https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([^/]+/[^/?#]+?)(?:/tree/([^/?#]+))?/?$")


def timm_name(spelling: str) -> str | None:
    """The name that timm has for the same weights, NAME.TAG; None if none is known."""
    by_case = {known.lower(): ours for known, ours in SPELLINGS.items()}
    return by_case.get(spelling.lower())


def from_address(text: str) -> tuple[str, str | None] | None:
    """Read the address of a page on Hugging Face's hub as the repository and its revision; None if it is none."""
    match = _ADDRESS.match(text)
    return (match[1], match[2]) if match else None
