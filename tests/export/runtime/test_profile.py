from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from export.runtime.profile import ENGINE_PROFILE, ONNX_PROFILE, Profile, parse_profile
from noah.errors import UsageError


@given(st.lists(st.integers(1, 4096), min_size=3, max_size=3).map(sorted))
def test_what_is_written_is_read_back(sizes: list[int]) -> None:
    profile = Profile(*sizes)
    assert parse_profile(str(profile)) == profile
    assert profile.sizes == tuple(sorted(set(sizes)))


@pytest.mark.parametrize("text", ["", "32", "1:32", "0:1:2", "4:2:8", "1:8:4", "1:2:3:4", "a:b:c", "-1:2:3", "1:2:³"])
def test_anything_else_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageError) as raised:
        parse_profile(text)
    assert raised.value.hint.endswith("--batch 1:32:256")


def test_every_default_begins_with_one_image() -> None:
    assert ONNX_PROFILE.minimum == ENGINE_PROFILE.minimum == 1
    assert str(ENGINE_PROFILE) == "1:32:256"
