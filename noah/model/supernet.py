"""The supernet: a frozen backbone, a head, and every module at its largest width."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from noah.backbone.families.registry import sizes_of, view_of
from noah.backbone.supported import check_supported
from noah.backbone.view import NetworkView, Readers
from noah.errors import SettingsError
from noah.model.kinds.build import BUILD, Place
from noah.model.kinds.module import KindModule, output_of
from noah.model.supernet_block import BlockUse, SupernetBlock, forward_block
from noah.model.token_plan import BlockPlan, plan_tokens
from noah.space.kinds import BlockSizes, with_published
from noah.space.subnet import Subnet

_WEIGHTS = {"prompt": "prompts", "lora": "loras", "adapter": "adapters"}
"""The published kinds -> the first word of their weights' names; that of another kind is its own name."""


class Supernet(nn.Module):
    """Backbone + head + modules; a subnet uses the first rows or columns of each module.

    In block b with widths p, r, a and tokens X (class token and registers, patches, prompts last):

    1. p > 0: prompt tokens carried from earlier blocks are dropped, and the first p rows of this block's prompt are
       appended; p = 0: carried tokens stay and are carried on.
    2. h = LN1(X); qkv = h W + c + (h A[:r]^T) B[:, :r]^T; X = X + LS1(proj(attention)).
    3. m = LS2(MLP(LN2(X))); X = X + m + U[:, :a] g(V[:a] m + v[:a]) + u; a = 0: X + m.
    4. logits = head(fc_norm(pool(norm(X)))).

    Tokens whose output nobody reads (see `noah.model.token_plan`) are not computed; the logits are the same. Modules
    are initialized such that every subnet without prompts gives the plain backbone's logits. The backbone stays in
    evaluation mode whatever `train()` says, and it is shared, not copied. (NOAH, section 3.)

    Args:
        backbone: A timm network of one of the families of `noah.backbone.families.registry`.
        largest: The largest width of each module, block by block; no subnet may exceed it.
        num_classes: The number of outputs of a fresh head; None copies the backbone's own head.
        dropout: The dropout rate in the modules, in training.
        drop_path: The rate of stochastic depth in the last block, rising linearly from 0 in the first, in training.
        prompt_dropout_per_image: Draw the prompts' dropout for each image instead of once per batch; slower.
        strengths: A fixed factor of what each kind of module changes; 1 for a kind that is not named.
        activation_checkpointing: Keep only the tokens between blocks for the backward pass, and recompute the rest
            there with the same random numbers.

    Raises:
        UnsupportedBackboneError: If the method does not cover the backbone.
        SettingsError: If `largest` has another depth than the backbone, or there is no head.
    """

    backbone: Any

    def __init__(
        self,
        backbone: nn.Module,
        largest: Subnet,
        *,
        num_classes: int | None = None,
        dropout: float = 0.0,
        drop_path: float = 0.0,
        prompt_dropout_per_image: bool = False,
        strengths: Mapping[str, float] | None = None,
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_supported(backbone)
        self.backbone = _frozen(backbone)
        view = self.view
        if largest.depth != view.depth:
            raise SettingsError([f"subnet: it has {largest.depth} blocks and the backbone has {view.depth}"])
        self.largest = largest
        self.strengths = {kind: strength for kind, strength in (strengths or {}).items() if strength != 1}
        self.embed_dim: int = view.embed_dim
        self.head = _fresh_head(view.head_inputs, num_classes) if num_classes else self._own_head()
        places = [Place(view.block(index), view.patch_dim, dropout) for index in range(view.depth)]
        self.kinds = with_published(largest.kinds)
        for name in self.kinds:
            modules = [BUILD[name](place, width) for place, width in zip(places, largest.widths(name), strict=True)]
            for module in modules:
                module.strength = self.strengths.get(name, 1.0)
            setattr(self, _WEIGHTS.get(name, name), nn.ModuleList(modules))
        self.drop_path_rates = [drop_path * block / max(1, largest.depth - 1) for block in range(largest.depth)]
        self.prompt_dropout_per_image = prompt_dropout_per_image
        self.activation_checkpointing = activation_checkpointing
        weight = view.weight
        self.to(device=weight.device, dtype=weight.dtype)

    def _own_head(self) -> nn.Linear:
        head = self.view.own_head()
        if head is None:
            raise SettingsError(["supernet: the backbone has no head; give num_classes"])
        return head.requires_grad_(True)

    @property
    def view(self) -> NetworkView:
        """The backbone around its blocks."""
        return view_of(self.backbone)

    @property
    def last_readers(self) -> Readers:
        """What the head reads after the last block."""
        return self.view.readers

    @property
    def num_classes(self) -> int:
        """The number of classes, which is the head's number of outputs."""
        return self.head.out_features

    @property
    def sizes(self) -> BlockSizes:
        """The sizes of the backbone's blocks, which price the modules."""
        return sizes_of(self.backbone)

    def train(self, mode: bool = True) -> Self:
        """Switch the modules' dropout and drop-path on or off; the frozen backbone always stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def trainable_state(self) -> dict[str, Tensor]:
        """The weights of the modules and the head, without the backbone's."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("backbone.")}

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Load what `trainable_state` returned; keys and shapes have to match exactly."""
        missing = set(self.trainable_state()) ^ set(state)
        if missing:
            raise SettingsError([f"supernet: these weights do not fit the modules: {', '.join(sorted(missing)[:5])}"])
        self.load_state_dict(state, strict=False)

    def forward(self, inputs: Tensor, subnet: Subnet, first: int = 0) -> Tensor:
        """Compute logits (B, classes) with one subnet.

        Args:
            inputs: Normalized images (B, 3, H, W), or what `bare_tokens` made of them.
            subnet: Says which modules are used.
            first: The first block to compute: 0 for images, and otherwise the number of blocks behind the tokens.

        Raises:
            SettingsError: If the subnet does not fit inside the largest widths.
        """
        self.check_fits(subnet)
        x = inputs if first else self.embed(inputs)
        for index, plan in list(enumerate(plan_tokens(subnet.prompt, self.last_readers)))[first:]:
            if self.activation_checkpointing and torch.is_grad_enabled():
                x = checkpoint(self._forward_block, x, index, subnet, plan, use_reentrant=False)
            else:
                x = self._forward_block(x, index, subnet, plan)
        return self.classify(x)

    def bare_tokens(self, images: Tensor, blocks: int) -> Tensor:
        """Compute the tokens (B, N, D) behind the first `blocks` blocks, without modules."""
        nothing = Subnet.uniform(self.largest.depth)
        x = self.embed(images)
        for index, plan in list(enumerate(plan_tokens(nothing.prompt, self.last_readers)))[:blocks]:
            x = self._forward_block(x, index, nothing, plan)
        return x

    def _forward_block(self, x: Tensor, index: int, subnet: Subnet, plan: BlockPlan) -> Tensor:
        new_tokens = self.new_tokens(index, plan.new_prompts, len(x))
        use = BlockUse(plan, new_tokens, subnet.block(index), self.drop_path_rates[index])
        return forward_block(self.block(index), x, use)

    def embed(self, images: Tensor) -> Tensor:
        """Compute the first block's input tokens, (B, N, D), from normalized `images` (B, 3, H, W)."""
        return self.view.embed(images)

    def classify(self, x: Tensor) -> Tensor:
        """Compute logits (B, classes) from the last block's output."""
        view = self.view
        return output_of(self.head, view.fc_norm(view.pooling(output_of(view.norm, x))))

    def check_fits(self, subnet: Subnet) -> None:
        """Refuse a subnet that is deeper or wider than this supernet."""
        if not subnet.fits_inside(self.largest):
            raise SettingsError(
                [f"subnet: {subnet.to_json()} does not fit inside this supernet's largest {self.largest.to_json()}"]
            )

    def module(self, kind: str, index: int) -> KindModule:
        """The module of a kind in one block."""
        module: KindModule = getattr(self, _WEIGHTS.get(kind, kind))[index]
        return module

    def block(self, index: int) -> SupernetBlock:
        """What one block is made of."""
        modules = {name: self.module(name, index) for name in self.kinds if name != "prompt"}
        view = self.view
        return SupernetBlock(view.block(index), modules, view.prefix, view.image_tokens, self.training)

    def new_tokens(self, index: int, count: int, batch: int) -> Tensor | None:
        """The first `count` prompt tokens of a block, (1 or `batch`, `count`, D); None if there are none."""
        if not count:
            return None
        copies = batch if self.prompt_dropout_per_image and self.training else 1
        return output_of(self.module("prompt", index), count, copies)


def _frozen(backbone: nn.Module) -> Any:
    """Put the backbone into evaluation mode, without gradients; typed loosely, because timm's parts have no types."""
    return backbone.requires_grad_(False).eval()


def _fresh_head(embed_dim: int, num_classes: int) -> nn.Linear:
    head = nn.Linear(embed_dim, num_classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def slice_trainable_state(supernet: Supernet, subnet: Subnet) -> dict[str, Tensor]:
    """Cut the trainable weights that a subnet uses out of the supernet's, as a start for a smaller supernet."""
    smaller = Supernet(supernet.backbone, subnet, num_classes=supernet.num_classes)  # for the shapes alone
    state = supernet.trainable_state()
    with torch.no_grad():
        return {
            name: state[name][tuple(slice(size) for size in value.shape)].clone()
            for name, value in smaller.trainable_state().items()
        }
