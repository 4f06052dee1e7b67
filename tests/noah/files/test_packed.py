"""Lists of images come back from their short texts as they were, and nothing else is taken for one."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from noah.files.packed import MOST_IMAGES, largest_text, pack_images, unpack_images

numbers = st.lists(st.integers(0, 70) | st.integers(0, MOST_IMAGES - 1), max_size=40)


@given(numbers)
def test_any_list_comes_back_in_its_order(images: list[int]) -> None:
    assert unpack_images(pack_images(images)) == tuple(images)


@given(st.sets(st.integers(0, 300)))
def test_a_set_of_images_takes_a_bit_for_each_image_at_most(images: set[int]) -> None:
    text = pack_images(sorted(images))
    assert unpack_images(text) == tuple(sorted(images))
    assert len(text) <= largest_text(301)


def test_images_in_any_order_take_the_bits_of_their_numbers() -> None:
    images = np.random.default_rng(0).permutation(15_150)[:512].tolist()
    assert len(pack_images(images)) <= 512 * 14 / 6 + 20 < len(str(images)) / 2


def test_lists_of_earlier_versions_are_plain_numbers() -> None:
    assert unpack_images([5, 0, 3]) == (5, 0, 3)
    assert unpack_images([]) == ()


def test_what_a_text_says_does_not_depend_on_the_system() -> None:
    assert pack_images([]) == ""
    assert pack_images([3, 4, 6]) == "3:" + base64.b64encode(bytes([0b1011])).decode()
    assert pack_images([4, 3]) == "2x3:" + base64.b64encode(bytes([0b011100])).decode()
    assert pack_images([0, 5_000]) == "2x13:" + base64.b64encode((5_000 << 13).to_bytes(4, "little")).decode()


@pytest.mark.parametrize("images", [[-1], [MOST_IMAGES], [3, -2]])
def test_what_cannot_be_read_back_is_not_written(images: list[int]) -> None:
    with pytest.raises(ValueError, match="numbered from 0"):
        pack_images(images)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (None, TypeError),
        (3, TypeError),
        ({}, TypeError),
        ("x", ValueError),
        ("3:", ValueError),
        ("3:!", ValueError),
        ("99999999:/w==", ValueError),
        ("3x2:AA==AA==", ValueError),
        ("3x0:AA==", ValueError),
        ("9x9:AA==", ValueError),
        ("1x99:" + base64.b64encode(b"\xff" * 13).decode(), ValueError),
        ("99999999x24:AA==", ValueError),
        ("0:" + "/" * (MOST_IMAGES // 8 * 2), ValueError),
    ],
)
def test_nothing_else_is_a_list_of_images(value: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        unpack_images(value)
