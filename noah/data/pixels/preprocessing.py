"""From an RGB image to the pixels and the tensor that a backbone takes.

The same object serves training, evaluation and the exported artifact, which stores it as JSON. It needs only NumPy and
Pillow; its "crop" gives, bit for bit, the pixels of timm's evaluation transform.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from noah.data.decode import MAXIMUM_PIXELS
from noah.errors import ArtifactError, UnreadableImageError

Resize = Literal["squash", "crop"]

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the input of a backbone.

    Attributes:
        height: Height of the input in pixels.
        width: Width of the input in pixels.
        resize: "squash" resizes straight to (height, width), as the VTAB protocol does; "crop" keeps the aspect ratio,
            resizes so that the center crop of (height, width) is `crop_fraction` of the resized image, and crops.
        crop_fraction: Above 0 and at most 1; "squash" ignores it.
        interpolation: nearest, bilinear, bicubic, lanczos, box or hamming.
        mean: Mean of each channel, for pixel values scaled to 0..1.
        std: Standard deviation of each channel, on the same scale.

    Raises:
        ValueError: If a value is out of range; the message begins with its name.
    """

    height: int
    width: int
    resize: Resize
    crop_fraction: float
    interpolation: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            if type(value) is not int or value < 1:
                raise ValueError(f"{name} must be a whole number above 0, not {value!r}")
        if self.resize not in get_args(Resize):
            raise ValueError(f"resize must be squash or crop, not {self.resize!r}")
        if not _is_number(self.crop_fraction) or not 0 < self.crop_fraction <= 1:
            raise ValueError(f"crop_fraction must be above 0 and at most 1, not {self.crop_fraction!r}")
        if not isinstance(self.interpolation, str) or self.interpolation not in _FILTERS:
            raise ValueError(f"interpolation must be one of {', '.join(_FILTERS)}, not {self.interpolation!r}")
        for name in ("mean", "std"):
            value = getattr(self, name)
            if not isinstance(value, tuple) or len(value) != 3 or not all(map(_is_number, value)):
                raise ValueError(f"{name} must be three numbers, not {value!r}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be above 0, not {self.std!r}")

    def pixels(self, image: Image.Image) -> np.ndarray:
        """Resize an RGB image.

        Returns:
            uint8, (height, width, 3).

        Raises:
            UnreadableImageError: If the image is so long and thin that resizing it for "crop" would exhaust the memory.
        """
        width, height = self.resized_size(image.width, image.height)
        resized = image.resize((width, height), _FILTERS[self.interpolation])
        if self.resize == "squash":
            return np.array(resized)
        left, top = round((width - self.width) / 2), round((height - self.height) / 2)
        return np.array(resized.crop((left, top, left + self.width, top + self.height)))

    def resized_size(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) that an image of a width and height is resized to, before any crop.

        Raises:
            UnreadableImageError: As `pixels` does.
        """
        if self.resize == "squash":
            return self.width, self.height
        resized = self._crop_scale(width, height)
        if math.prod(resized) > MAXIMUM_PIXELS:
            raise UnreadableImageError(
                f"An image of {width} x {height} pixels is too long and thin to be resized for a crop."
            )
        return resized

    def _crop_scale(self, width: int, height: int) -> tuple[int, int]:
        """The (width, height) to resize to before the crop, rounded as torchvision and timm do."""
        scaled_width = math.floor(self.width / self.crop_fraction)
        scaled_height = math.floor(self.height / self.crop_fraction)
        if scaled_width == scaled_height:  # torchvision's Resize: the shorter side is exact, the longer one cut down.
            if width <= height:
                return scaled_width, int(scaled_width * height / width)
            return int(scaled_height * width / height), scaled_height
        ratio = min(height / scaled_height, width / scaled_width)  # timm's ResizeKeepRatio
        return round(width / ratio), round(height / ratio)

    def normalize(self, pixels: np.ndarray) -> np.ndarray:
        """Compute (pixels / 255 - mean) / std.

        Args:
            pixels: uint8, (B, height, width, 3).

        Returns:
            float32, (B, 3, height, width), C-contiguous.
        """
        planes = pixels.transpose(0, 3, 1, 2).astype(np.float32, order="C")
        planes /= np.float32(255)
        planes -= np.asarray(self.mean, np.float32)[:, None, None]
        planes /= np.asarray(self.std, np.float32)[:, None, None]
        return planes

    def to_json(self) -> dict[str, Any]:
        """The values by name, in types that JSON knows."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_json(cls, mapping: Mapping[str, Any]) -> Preprocessing:
        """Undo `to_json`; nothing is guessed or ignored.

        Raises:
            ArtifactError: If a key is missing, is unknown or holds a wrong value.
        """
        expected = {field.name for field in fields(cls)}
        problems = [f"unknown key {key!r}" for key in mapping if key not in expected]
        problems += [f"missing key {field.name!r}" for field in fields(cls) if field.name not in mapping]
        if not problems:
            values = dict(mapping)
            for name in ("mean", "std"):  # JSON has lists where the dataclass has tuples.
                if isinstance(values[name], list):
                    values[name] = tuple(values[name])
            try:
                return cls(**values)
            except ValueError as error:
                problems = [str(error)]
        raise ArtifactError(
            f"The preprocessing stored in the artifact is wrong: {'; '.join(problems)}.",
            "Export the artifact again.",
        )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
