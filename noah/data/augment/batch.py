"""The random changes to a whole batch: random erasing (Zhong et al., 2017), then mixup or CutMix, by timm."""

from __future__ import annotations

import torch
from timm.data.mixup import Mixup
from timm.data.random_erasing import RandomErasing
from torch import Tensor

from noah.data.augment.seeding import seeded
from noah.settings.training_settings import AugmentationSettings


class BatchAugmentation:
    """Erases rectangles of images, and mixes each image with another from its batch, as far as the settings ask for it.

    A rectangle is filled with normal noise. Each image is mixed with its partner in the reversed batch: mixup (Zhang et
    al., 2017) adds lambda of the image to 1 - lambda of its partner; CutMix (Yun et al., 2019) replaces a rectangle
    of 1 - lambda of the image's area by its partner's. If both are on, a coin toss decides for each batch. Lambda is
    drawn once per batch from Beta(a, a), with the a of the settings. The labels become shares of two classes, lambda
    and 1 - lambda.

    timm mixes only batches of even size; the last image of an odd batch stays as it is.
    """

    def __init__(self, settings: AugmentationSettings, num_classes: int) -> None:
        # The noise is drawn on the CPU, so that it is the same on every device.
        self._erase = RandomErasing(settings.random_erasing, mode="pixel", device="cpu")
        self._mix = None
        if settings.mixup or settings.cutmix:
            self._mix = Mixup(settings.mixup, settings.cutmix, label_smoothing=0, num_classes=num_classes)
        self._erases = settings.random_erasing > 0
        self._num_classes = num_classes

    @property
    def is_on(self) -> bool:
        """Whether batches are changed at all."""
        return self._erases or self._mix is not None

    @property
    def mixes(self) -> bool:
        """Whether images are mixed with others, and with them their labels."""
        return self._mix is not None

    def apply(self, images: Tensor, labels: Tensor, seed: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Change one batch.

        Args:
            images: float32, (B, 3, H, W), normalized; changed in place.
            labels: int64, (B), on the same device; where nothing is mixed, shares of the classes, too, (B, classes).
            seed: Words of the seed, as `noah.data.augment.seeding.seeded` takes them.

        Returns:
            The images, with `labels` unchanged, or for mixed images float32, (B, classes), whose rows sum to 1.
        """
        if not self.is_on:
            return images, labels
        with seeded(*seed):
            if self._erases:
                self._erase(images)
            if self._mix is None:
                return images, labels
            even = len(images) // 2 * 2
            targets = torch.nn.functional.one_hot(labels, self._num_classes).to(images.dtype)
            if even:
                images[:even], targets[:even] = self._mix(images[:even], labels[:even])
        return images, targets
