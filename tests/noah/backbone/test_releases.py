"""What stands in for the parts that some of timm's releases lack does what the newer ones do."""

from __future__ import annotations

import pytest
import torch
from timm.layers import resize_rel_pos_bias_table
from timm.models import vision_transformer_relpos
from timm.models.vision_transformer import ParallelScalingBlock, VisionTransformer
from timm.models.vision_transformer_relpos import VisionTransformerRelPos
from torch import nn

from noah.backbone import names
from noah.backbone.families.plain import unsupported_in_block
from noah.backbone.families.releases import (
    LAYER_SCALES,
    gate_of,
    leaves_prefix_out,
    misplaces_mlp_bias,
    resample_relative_positions,
    shares_output_projection,
)
from noah.backbone.names import read_name
from noah.backbone.supported import unsupported_parts
from noah.errors import UnknownBackboneError
from tests.noah.architectures import SIZE, make_backbone


def with_tables(side: int) -> VisionTransformerRelPos:
    torch.manual_seed(side)
    return VisionTransformerRelPos(**{**SIZE, "img_size": side}, rel_pos_type="bias")


@pytest.mark.parametrize("release", ["installed", "without a filter"])
def test_tables_of_relative_positions_are_resampled_to_the_grid(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if release == "without a filter":
        monkeypatch.delattr(vision_transformer_relpos, "checkpoint_filter_fn", raising=False)
    small, large = with_tables(32), with_tables(48)
    state = small.state_dict()
    found = dict(resample_relative_positions(state, large))
    large.load_state_dict(found)
    tables = [name for name in state if name.endswith("relative_position_bias_table")]
    assert len(tables) == len(small.blocks)
    for name in tables:
        expected = resize_rel_pos_bias_table(state[name], (6, 6), found[name].shape)
        torch.testing.assert_close(found[name], expected)
    assert all(found[name] is value for name, value in state.items() if name not in tables)
    same = dict(resample_relative_positions(state, small))
    assert all(torch.equal(same[name], value) for name, value in state.items())


def test_scales_gates_and_projections_are_told_whatever_the_release() -> None:
    block = make_backbone("LayerScale").blocks[0]
    assert isinstance(block.ls1, LAYER_SCALES)
    assert gate_of(block.attn) is None and gate_of(nn.Identity()) is None
    assert not shares_output_projection(make_backbone("parallel blocks").blocks[0])
    assert not shares_output_projection(nn.Identity())


def test_a_class_token_that_timm_leaves_out_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    backbone = VisionTransformer(**SIZE, pos_embed="none")
    plain = [
        VisionTransformer(**SIZE),
        VisionTransformer(**SIZE, pos_embed="none", class_token=False, global_pool="avg"),
    ]
    assert not any(map(leaves_prefix_out, plain))
    monkeypatch.setattr(VisionTransformer, "_pos_embed", lambda self, x: x.view(x.shape[0], -1, x.shape[-1]))
    assert leaves_prefix_out(backbone) and not any(map(leaves_prefix_out, plain))
    assert unsupported_parts(backbone) == ["timm before 1.0.26 leaves out its class token"]


def test_a_bias_that_timm_misplaces_is_noticed() -> None:
    block = ParallelScalingBlock(24, 3, qkv_bias=False)
    if hasattr(block, "out_proj"):
        assert not misplaces_mlp_bias(block)
        del block.out_proj
    assert misplaces_mlp_bias(block) and unsupported_in_block(block) == [
        "timm before 1.0.23 misplaces the bias of its MLP"
    ]
    assert not misplaces_mlp_bias(ParallelScalingBlock(24, 3, qkv_bias=True))


def test_an_architecture_of_a_newer_timm_is_refused_with_the_release_that_has_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(names, "family_architectures", lambda: ("vit_base_patch16_224",))
    with pytest.raises(UnknownBackboneError) as caught:
        read_name("vit_enormous_patch16_sapiens2")
    assert "has no sapiens2 yet. Type: pip install --upgrade 'timm>=1.0.30'. " in caught.value.hint
    with pytest.raises(UnknownBackboneError) as caught:
        read_name("vit_enormous_patch16_unheard")
    assert "upgrade" not in caught.value.hint
