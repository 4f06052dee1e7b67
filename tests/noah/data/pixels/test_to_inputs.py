from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noah.data.pixels.preprocessing import Preprocessing
from noah.data.pixels.to_inputs import to_images

channels = st.tuples(*[st.floats(0, 1)] * 3)
stds = st.tuples(*[st.floats(0.01, 2)] * 3)


@given(arrays(np.uint8, st.tuples(st.integers(1, 3), st.just(4), st.just(5), st.just(3))), channels, stds)
def test_images_are_the_floats_of_the_preprocessing(
    pixels: np.ndarray, mean: tuple[float, float, float], std: tuple[float, float, float]
) -> None:
    preprocessing = Preprocessing(4, 5, "squash", 1.0, "bicubic", mean, std)
    images = to_images(pixels, preprocessing, torch.device("cpu"))
    assert (images.dtype, images.shape, images.is_contiguous()) == (torch.float32, (len(pixels), 3, 4, 5), True)
    assert images.numpy().tobytes() == preprocessing.normalize(pixels).tobytes()


def test_every_pixel_value_in_every_channel_is_exact_and_the_pixels_stay() -> None:
    preprocessing = Preprocessing(16, 16, "squash", 1.0, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    pixels = np.repeat(np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1), 3, axis=3)
    images = to_images(pixels[:, ::-1], preprocessing, torch.device("cpu"))  # a view that is not contiguous
    exact = (np.arange(256) / 255 - 0.485) / 0.229
    np.testing.assert_allclose(images[0, 0].numpy()[::-1].ravel(), exact, rtol=3e-6, atol=3e-7)
    assert images.numpy().tobytes() == preprocessing.normalize(pixels[:, ::-1]).tobytes()
    assert pixels.ravel()[-1] == 255
