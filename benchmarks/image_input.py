"""How far a model that resizes images itself is from the same model on pixels that Pillow resized.

    noah export --input uint8 --run RUN && noah export --input image --run RUN
    python -m benchmarks.image_input RUN/export/onnx-fp32-uint8 RUN/export/onnx-fp32-image

The images are cut at random from the two photographs of scikit-learn, and a third of them enlarged or reduced, so that
their sides have 20 to 1,280 pixels. Both artifacts have to be of one run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from PIL import Image
from sklearn.datasets import load_sample_images

from export.convert.image_input import resizing_graph
from export.formats.load import load_predictor
from export.runtime.onnx_session import CPU
from export.runtime.tensors import INPUT_NAME
from noah.progress import counted


def pictures(count: int, seed: int = 0) -> Iterator[Image.Image]:
    """Cut pictures of mixed sizes from photographs."""
    rng = np.random.default_rng(seed)
    photographs = load_sample_images().images
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        height, width = (int(rng.integers(20, side + 1)) for side in photograph.shape[:2])
        top = int(rng.integers(photograph.shape[0] - height + 1))
        left = int(rng.integers(photograph.shape[1] - width + 1))
        picture = Image.fromarray(photograph[top : top + height, left : left + width])
        if number % 3 == 0:
            scale = float(rng.uniform(0.5, 2.0))
            picture = picture.resize((max(1, round(width * scale)), max(1, round(height * scale))))
        yield picture


def main(
    pixels: Annotated[Path, typer.Argument(help="An artifact that takes pixels of one size.")],
    images: Annotated[Path, typer.Argument(help="The artifact of the same run that takes images.")],
    count: int = 1000,
    provider: str = "cpu",
) -> None:
    """Print the differences of pixels, of probabilities and of labels."""
    import onnxruntime

    of_pixels, of_images = load_predictor(pixels, provider="cpu"), load_predictor(images, provider=provider)
    if of_pixels.manifest.run.weights != of_images.manifest.run.weights or not of_images.takes_images:
        raise typer.BadParameter("the artifacts are not those of one run, one with pixels and one with images")
    preprocessing = of_pixels.preprocessing
    graph = resizing_graph(preprocessing, opset=20).SerializeToString()
    resizing = onnxruntime.InferenceSession(graph, providers=[CPU])
    levels, changed, differences, same = [], [], [], []
    for picture in pictures(count):
        expected = preprocessing.pixels(picture)
        (found,) = resizing.run(None, {INPUT_NAME: np.asarray(picture)[None]})[0]
        apart = np.abs(found.astype(int) - expected)
        levels.append(apart.max())
        changed.append((apart > 0).mean())
        by_pillow = of_pixels.probabilities(expected[None])[0]
        by_graph = of_images.probabilities([of_images.pixels(picture)])[0]
        differences.append(np.abs(by_graph - by_pillow).max())
        same.append(by_graph.argmax() == by_pillow.argmax())
    print(f"{counted(count, 'images')} by {of_images.provider}")
    print(f"pixels         largest difference {max(levels)} of 255, {np.mean(changed):.2%} of the values differ")
    print(f"probabilities  largest difference {max(differences):.2e}, mean of the largest {np.mean(differences):.2e}")
    print(f"labels         {sum(same):,} of {count:,} the same")


if __name__ == "__main__":
    typer.run(main)
