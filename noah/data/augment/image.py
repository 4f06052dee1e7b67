"""The random changes to a single training image, by the transforms of timm and torchvision."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from timm.data import auto_augment
from torchvision import transforms

from noah.data.augment.seeding import seeded
from noah.data.pixels.preprocessing import Preprocessing
from noah.settings.training_settings import AugmentationSettings

_WARPS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
"""Pillow can shear and rotate only with these; bicubic stands in for the others."""


class Augmentation:
    """Crop, flip, RandAugment and color jitter, as far as the settings ask for them, in timm's order.

    The random numbers depend only on the seed of the call: the same image and seed give the same pixels in any batch,
    process or order. timm leaves out color jitter when RandAugment is on, unless it is forced; here every setting does
    what it says.

    Args:
        settings: Which changes to make, and how strong they are.
        preprocessing: Gives the size and interpolation of a crop, and the mean color, which fills the corners that
            RandAugment leaves empty.

    Attributes:
        crops: Whether images are cropped, so that `apply` takes originals instead of images at the backbone's size.
    """

    def __init__(self, settings: AugmentationSettings, preprocessing: Preprocessing) -> None:
        self.crops = settings.random_resized_crop is not None
        self._transforms: list[Callable[[Image.Image], Image.Image]] = []
        if settings.random_resized_crop is not None:
            self._transforms.append(
                transforms.RandomResizedCrop(
                    (preprocessing.height, preprocessing.width),
                    scale=settings.random_resized_crop,
                    interpolation=transforms.InterpolationMode(preprocessing.interpolation),
                )
            )
        if settings.horizontal_flip:
            self._transforms.append(transforms.RandomHorizontalFlip(settings.horizontal_flip))
        if settings.randaugment is not None:
            parameters = {
                "img_mean": tuple(min(255, round(255 * value)) for value in preprocessing.mean),
                "interpolation": _WARPS.get(preprocessing.interpolation, Image.Resampling.BICUBIC),
            }
            self._transforms.append(_randaugment(settings.randaugment, parameters))
        if settings.color_jitter:
            self._transforms.append(transforms.ColorJitter(*[settings.color_jitter] * 3))

    def apply(self, image: Image.Image, seed: tuple[int, ...]) -> NDArray[np.uint8]:
        """Change one image.

        Args:
            image: In mode RGB; the original if `crops`, else at the backbone's input size.
            seed: Words of the seed, as `noah.data.augment.seeding.seeded` takes them.

        Returns:
            uint8, (height, width, 3).
        """
        with seeded(*seed):
            for transform in self._transforms:
                image = transform(image)
        return np.array(image)


def timm_spelling(randaugment: str) -> str:
    """The setting as every release of timm understands it: until 1.0.29, `-inc0` switched on what it switches off."""
    return randaugment.replace("-inc0", "")


def _randaugment(spelled: str, parameters: dict[str, Any]) -> Callable[[Image.Image], Image.Image]:
    transform: Any = auto_augment.rand_augment_transform(timm_spelling(spelled), parameters)
    for operation in transform.ops:
        if operation.aug_fn is auto_augment.posterize:
            operation.aug_fn = _posterize
    return transform  # type: ignore[no-any-return]  # timm carries no types


def _posterize(image: Image.Image, bits: int, **_: object) -> Image.Image:
    """Keep the first bits of each channel. At the largest magnitude timm keeps none, which Pillow refuses."""
    mask = 256 - 2 ** (8 - bits)
    return image.point([value & mask for value in range(256)] * 3)
