"""The normalization of pixels, folded into the convolution that follows it or as a step of its own."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def takes_normalization(layer: nn.Module) -> bool:
    """Whether a normalization folds into a layer exactly: a convolution that neither pads nor changes its weights.

    Padding adds zeros to normalized pixels, which stand for the mean color and not for black.
    """
    return type(layer) is nn.Conv2d and layer.padding in ((0, 0), "valid")


def fold_normalization(patches: nn.Conv2d, mean: tuple[float, ...], std: tuple[float, ...]) -> nn.Conv2d:
    """Fold (x / 255 - mean) / std into the convolution without padding that follows it."""
    weight = patches.weight.double()
    shape = (1, 3, 1, 1)
    means, stds = (weight.new_tensor(values).view(shape) for values in (mean, std))
    shift = (weight * (means / stds)).sum(dim=(1, 2, 3))
    bias = -shift if patches.bias is None else patches.bias.double() - shift
    folded = nn.Conv2d(3, patches.out_channels, patches.kernel_size, patches.stride, device="meta")  # type: ignore[arg-type]  # timm keeps both as pairs
    folded.weight = nn.Parameter((weight / (255.0 * stds)).to(patches.weight.dtype))
    folded.bias = nn.Parameter(bias.to(patches.weight.dtype))
    return folded.requires_grad_(False)


class Normalization(nn.Module):
    """Pixels in 0..255 to (x / 255 - mean) / std, where that folds into no layer.

    Args:
        mean: Of each channel, for pixels in 0..1.
        std: Standard deviation of each channel on the same scale.
        like: Gives type and device.
    """

    factor: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...], like: Tensor) -> None:
        super().__init__()
        means, stds = (torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1) for values in (mean, std))
        self.register_buffer("factor", (1.0 / (255.0 * stds)).to(like))
        self.register_buffer("shift", (-means / stds).to(like))

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W), in 0..255 -> the same, normalized."""
        return pixels * self.factor + self.shift
