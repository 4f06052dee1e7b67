"""Scale and shift of features (SSF; Lian et al., 2022)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from noah.model.kinds.module import Affine, KindModule, Width


class ScaleShift(KindModule):
    """h -> g * h + c of each feature, where a linear layer before or after takes it in.

    After the norms it is taken in by the layers that read the tokens: W diag(g) and b + W c; after a layer by that
    layer: diag(g) W and g b + c. Scales start as one and shifts as zero.

    Args:
        inputs: Name of each layer that reads normed tokens -> the name of the norm, which layers may share.
        outputs: Name of each layer that is followed by a scale and a shift -> its outputs.
        embed_dim: Width D of the tokens.
        there: Whether the block has it at all.
    """

    def __init__(self, inputs: Mapping[str, str], outputs: Mapping[str, int], embed_dim: int, there: int) -> None:
        super().__init__()
        self.norms = dict(inputs)
        features = {**dict.fromkeys(inputs.values(), embed_dim), **outputs}
        self.scales = nn.ParameterDict({n: torch.ones(f if there else 0) for n, f in features.items()})
        self.shifts = nn.ParameterDict({n: torch.zeros(f if there else 0) for n, f in features.items()})

    def _values(self, name: str, width: Width) -> tuple[Tensor, Tensor]:
        """Scale and shift, or 1 and 0 where a mask says that they are not in use."""
        scale, shift = self.scales[name], self.at_strength(self.shifts[name])
        scale = scale if self.strength == 1 else 1 + self.at_strength(scale - 1)
        if isinstance(width, Tensor):
            return 1 + (scale - 1) * width[0], shift * width[0]
        return scale, shift

    def before(self, layer: str, h: Tensor, width: Width) -> Tensor:
        """Normed tokens, scaled and shifted."""
        if layer not in self.norms:
            return h
        scale, shift = self._values(self.norms[layer], width)
        return h * scale + shift

    def after(self, layer: str, y: Tensor, width: Width, rows: slice) -> Tensor:
        """A layer's output, scaled and shifted."""
        if layer not in self.scales:
            return y
        scale, shift = self._values(layer, width)
        return y * scale[rows] + shift[rows]

    def fold_before(self, layer: str, folded: Affine, width: int) -> Affine:
        """W diag(g) and b + W c."""
        if layer not in self.norms:
            return folded
        scale, shift = self._values(self.norms[layer], width)
        return Affine(folded.weight * scale, folded.bias).plus(folded.weight @ shift)

    def fold_after(self, layer: str, folded: Affine, width: int) -> Affine:
        """Diag(g) W and g b + c."""
        if layer not in self.scales:
            return folded
        scale, shift = self._values(layer, width)
        return Affine(folded.weight * scale[:, None], None if folded.bias is None else folded.bias * scale).plus(shift)
