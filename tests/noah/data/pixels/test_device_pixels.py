"""Images that live on a device. A meta tensor stands for a GPU where only the place matters, not the content."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noah.data.pixels.device_pixels import DEVICE_SHARE, DevicePixels, free_memory, place
from noah.data.pixels.pixels import Pixels, load_pixels
from noah.data.pixels.to_inputs import to_images
from tests.noah.tiny_training import PREPROCESSING, photo_split

BYTES = 24 * 32 * 32 * 3
ELSEWHERE = torch.device("meta")


def photos(limit: int | None = None) -> Pixels:
    return load_pixels(photo_split(), PREPROCESSING, memory_limit=limit)


@pytest.mark.parametrize(("free", "fits"), [(4 * BYTES, True), (4 * BYTES - 4, False)])
def test_they_move_where_they_take_no_more_than_a_quarter(free: int, fits: bool) -> None:
    assert DEVICE_SHARE == 0.25
    placed = place(photos(), ELSEWHERE, free)
    assert isinstance(placed, DevicePixels) is fits
    assert ("they live on the meta device" if fits else "each batch travels there") in placed.reason
    assert "24 images take 72 KiB" in placed.reason and "25% of its free memory" in placed.reason
    assert np.array_equal(placed.batch(np.arange(3)), photos().batch(np.arange(3)))
    if fits:
        batch = placed.fetch(np.array([3, 1]))
        assert isinstance(batch, torch.Tensor)
        assert (batch.device, batch.dtype, tuple(batch.shape)) == (ELSEWHERE, torch.uint8, (2, 32, 32, 3))


def test_on_a_cpu_nothing_is_copied_and_what_is_not_in_memory_stays_there() -> None:
    pixels = photos()
    assert place(pixels, torch.device("cpu")) is pixels
    decoded_later = photos(limit=0)
    assert place(decoded_later, ELSEWHERE, 2**40) is decoded_later
    assert free_memory(torch.device("cpu")) is None
    assert place(pixels, ELSEWHERE) is pixels  # a device that does not tell how much is free


def test_the_images_are_the_same_bits_from_either_place() -> None:
    pixels, indices = photos(), np.array([5, 0, 23, 5])
    assert pixels.memory is not None
    resident = DevicePixels(pixels, torch.from_numpy(pixels.memory), "it is here")
    assert (len(resident), resident.name(3), resident.in_memory) == (24, pixels.name(3), True)
    cpu = torch.device("cpu")
    found = to_images(resident.fetch(indices), PREPROCESSING, cpu)
    assert torch.equal(found, to_images(pixels.fetch(indices), PREPROCESSING, cpu))
    assert torch.equal(resident.fetch(indices), torch.from_numpy(pixels.batch(indices)))
    assert np.array_equal(pixels.memory, photos().memory)  # nothing was normalized in place
