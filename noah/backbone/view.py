"""What the supernet, the merge and the costs need of a block, and nothing else.

The private names of timm's plain vision transformer stand here. A linear layer of a block has one name everywhere:
`qkv`, `proj`, the layers that read the MLP's input (`fc1`, or `fc1_g` and `fc1_x` where a layer of its own gates it),
and `fc2`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from timm.layers import GluMlp, SwiGLU
from torch import Tensor, nn

from noah.space.kinds import BlockSizes, LayerSize

QKV, PROJ, FC2 = "qkv", "proj", "fc2"

Apply = Callable[[str, Tensor], Tensor]
"""Name of a linear layer, and its input (B, N, features) -> its output."""


class BlockView:
    """A pre-norm block of timm's `VisionTransformer`.

    Args:
        block: timm's `Block`.
    """

    def __init__(self, block: Any) -> None:
        self.block = block
        self.attention = block.attn
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.scale1, self.scale2 = block.ls1, block.ls2

    @property
    def layers(self) -> Mapping[str, nn.Linear]:
        """Its linear layers by name, in the order in which tokens go through them."""
        mlp = self.block.mlp
        return {
            QKV: self.attention.qkv,
            PROJ: self.attention.proj,
            **{name: getattr(mlp, name) for name in self.mlp_inputs},
            FC2: mlp.fc2,
        }

    def place(self, name: str) -> str:
        """Where a linear layer's weights stand in the block's state."""
        return f"attn.{name}" if name in (QKV, PROJ) else f"mlp.{name}"

    @property
    def mlp_inputs(self) -> tuple[str, ...]:
        """Names of the layers that read the MLP's input."""
        return ("fc1_g", "fc1_x") if isinstance(self.block.mlp, SwiGLU) else ("fc1",)

    @property
    def sizes(self) -> BlockSizes:
        """The sizes that prices of modules depend on."""
        layers = {
            name: LayerSize(layer.in_features, layer.out_features, layer.bias is not None)
            for name, layer in self.layers.items()
        }
        return BlockSizes(
            layers[QKV].inputs,
            layers[QKV],
            layers[PROJ],
            tuple(layers[name] for name in self.mlp_inputs),
            layers[FC2],
            biased_keys=not isinstance(self.attention.k_norm, nn.Identity),
        )

    def mlp(self, x: Tensor, apply: Apply) -> Tensor:
        """The MLP of normed tokens (B, N, D), its linear layers applied by `apply`, in evaluation mode as it is frozen.

        The forward passes of timm's `Mlp`, `GluMlp` and `SwiGLU`.
        """
        mlp = self.block.mlp
        hidden = [apply(name, x) for name in self.mlp_inputs]
        if isinstance(mlp, SwiGLU):
            gate, value = hidden
            inner = mlp.act(gate) * value
        elif isinstance(mlp, GluMlp):
            first, last = hidden[0].chunk(2, dim=mlp.chunk_dim)
            inner = first * mlp.act(last) if mlp.gate_last else mlp.act(first) * last
        else:
            inner = mlp.act(hidden[0])
        return apply(FC2, mlp.norm(inner))


def sizes_of(backbone: Any) -> BlockSizes:
    """The sizes of a backbone's blocks, which are all alike."""
    return BlockView(backbone.blocks[0]).sizes
