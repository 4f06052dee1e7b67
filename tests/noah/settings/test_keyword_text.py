from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.errors import SettingsError
from noah.settings.keyword_text import read_keyword, read_keywords
from noah.settings.layers import Layer, resolve


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("init_values=1e-5", ("init_values", 1e-5)),
        ("reg_tokens = 4", ("reg_tokens", 4)),
        ("class_token=false", ("class_token", False)),
        ("qkv_bias=True", ("qkv_bias", True)),
        ("pos_embed=none", ("pos_embed", "none")),
        ("act_layer=quick_gelu", ("act_layer", "quick_gelu")),
    ],
)
def test_an_argument_is_read_as_it_is_meant(text: str, value: tuple[str, object]) -> None:
    assert read_keyword(text) == value
    assert type(read_keyword(text)[1]) is type(value[1])


@pytest.mark.parametrize("text", ["", "=", "init_values", "init_values=", "=1", "a b=1", "a.b=1", "class=1"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not NAME=VALUE, as in init_values=1e-5"):
        read_keyword(text)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("img_size=224", "the image size is --image-size"),
        ("num_classes=3", "a head of its own"),
        ("checkpoint_path=weights.pth", "it does not describe the network"),
    ],
)
def test_what_is_set_elsewhere_is_refused_with_where(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=f"cannot be given here: .*{why}"):
        read_keyword(text)


@given(st.dictionaries(st.from_regex(r"[a-z]{3,8}_x", fullmatch=True), st.integers() | st.booleans(), max_size=4))
def test_several_are_read_by_name(values: dict[str, int | bool]) -> None:
    assert read_keywords(f"{name}={value}" for name, value in values.items()) == values


def test_settings_hold_them_as_they_were_written() -> None:
    arguments = {"arguments": ["init_values=1e-5", "class_token=false"]}
    settings, origins = resolve([Layer(source="--backbone-arg", values={"backbone": arguments})])
    assert settings.backbone.arguments == ("init_values=1e-5", "class_token=false")
    assert settings.backbone.keywords == {"init_values": 1e-5, "class_token": False}
    assert origins["backbone.arguments"] == "--backbone-arg"
    single, _ = resolve([Layer(source="--set", values={"backbone": {"arguments": "init_values=1e-5"}})])
    assert single.backbone.keywords == {"init_values": 1e-5}


@pytest.mark.parametrize("texts", [["init_values"], ["a=1", "a=2"], ["img_size=3"]])
def test_settings_refuse_them_with_their_source(texts: list[str]) -> None:
    with pytest.raises(SettingsError, match=r"^backbone.arguments: .*\(--backbone-arg\)"):
        resolve([Layer(source="--backbone-arg", values={"backbone": {"arguments": texts}})])
