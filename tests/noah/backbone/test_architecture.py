from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.backbone.architecture import Architecture, plain_arguments
from noah.backbone.supported import untrained_backbone

NAMES = st.from_regex(r"[a-z][a-z0-9_]{2,8}_x", fullmatch=True)
VALUES = st.integers() | st.booleans() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9)


@given(st.dictionaries(NAMES, VALUES | st.lists(VALUES, max_size=3), max_size=4))
def test_its_text_is_read_back(arguments: dict[str, Any]) -> None:
    architecture = Architecture("vit_base_patch16_224.mae", arguments)
    assert Architecture.read(str(architecture)) == architecture


def test_two_networks_never_share_a_text() -> None:
    assert str(Architecture("vit_base_patch16_224")) == "vit_base_patch16_224"
    assert str(Architecture("vit_base_patch16_224", {"init_values": 1e-5, "class_token": False})) == (
        "vit_base_patch16_224(class_token=False, init_values=1e-05)"
    )


@pytest.mark.parametrize(
    "text",
    [
        *("test_vit(", "test_vit(3)", "test_vit(**{})", "test_vit(a=b)", "test_vit(a=open('x'))", "test_vit(a=1)+1"),
        *("test_vit(checkpoint_path='x')", "test_vit(a=1,a=2)", f"test_vit(a='{'x' * 5000}')"),
    ],
)
def test_what_is_no_architecture_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Architecture.read(text)


@pytest.mark.parametrize("arguments", [{"a": {}}, {"a": [[1]]}, {"pretrained_cfg_overlay": 1}, {"a b": 1}])
def test_arguments_of_a_file_have_to_be_plain(arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="the argument"):
        plain_arguments(arguments)


def test_an_untrained_backbone_has_the_arguments_of_its_text() -> None:
    plain: Any = untrained_backbone("test_vit", (32, 32), 3)
    scaled: Any = untrained_backbone("test_vit.r160_in1k(init_values=0.5, reg_tokens=2)", (32, 32), 3)
    assert plain.num_prefix_tokens == 1
    assert scaled.num_prefix_tokens == 3
    assert scaled.blocks[0].ls1.gamma.mean() == 0.5
