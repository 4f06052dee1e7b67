"""The supernet: a frozen backbone, a head, and every module at its largest width."""

from __future__ import annotations

import copy
from typing import Any, Self

import torch
from timm.layers import drop_path
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from noah.attention import append_tokens, attend, keys_and_values, pool, read_tokens, split_heads
from noah.errors import SettingsError
from noah.modules import Adapter, LoRA, Prompt
from noah.subnet import Subnet
from noah.supported import check_supported
from noah.token_plan import BlockPlan, Readers, plan_tokens


class Supernet(nn.Module):
    """Backbone + head + modules; a subnet uses the first rows or columns of each module.

    In block b with widths p, r, a and tokens X (class token and registers, patches, prompts last):

    1. p > 0: prompt tokens carried from before are dropped and the first p rows of this block's prompt are appended;
       p = 0: carried tokens stay and travel on.
    2. h = LN1(X); qkv = h W + c + (h A[:r]^T) B[:, :r]^T; X = X + LS1(proj(attention)).
    3. m = LS2(MLP(LN2(X))); X = X + m + U[:, :a] g(V[:a] m + v[:a]) + u; a = 0: X + m.
    4. logits = head(fc_norm(pool(norm(X)))).

    Tokens whose output nobody reads (see `noah.token_plan`) are not computed; the logits are the same. Modules start
    such that every subnet without prompts gives the plain backbone's logits. The backbone stays in evaluation mode
    whatever `train()` says, and is shared, not copied. (NOAH, section 3.)

    Args:
        backbone: A timm `VisionTransformer`.
        largest: The largest width of each module, block by block; no subnet may exceed it.
        num_classes: Outputs of a fresh head; None takes a copy of the backbone's own.
        dropout: Rate of the dropout in the modules, in training.
        drop_path: Rate of stochastic depth in the last block, rising linearly from 0, in training.
        prompt_dropout_per_image: Draw the prompts' dropout for each image instead of once a batch; slower.
        activation_checkpointing: Keep only the tokens between blocks for the backward pass, and compute the rest anew
            there, with the same random numbers.

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
        activation_checkpointing: bool = False,
    ) -> None:
        super().__init__()
        check_supported(backbone)
        self.backbone = _frozen(backbone)
        if largest.depth != len(self.backbone.blocks):
            raise SettingsError(
                [f"subnet: it has {largest.depth} blocks and the backbone has {len(self.backbone.blocks)}"]
            )
        self.largest = largest
        self.embed_dim: int = self.backbone.embed_dim
        self.head = _fresh_head(self.embed_dim, num_classes) if num_classes else self._own_head()
        patch_dim = self.backbone.patch_embed.proj.weight[0].numel()
        self.prompts = nn.ModuleList(Prompt(self.embed_dim, width, patch_dim, dropout) for width in largest.prompt)
        self.loras = nn.ModuleList(LoRA(self.embed_dim, width, dropout) for width in largest.lora)
        self.adapters = nn.ModuleList(Adapter(self.embed_dim, width, dropout) for width in largest.adapter)
        self.drop_path_rates = [drop_path * block / max(1, largest.depth - 1) for block in range(largest.depth)]
        self.prompt_dropout_per_image = prompt_dropout_per_image
        self.activation_checkpointing = activation_checkpointing
        weight = self.backbone.patch_embed.proj.weight
        self.to(device=weight.device, dtype=weight.dtype)

    def _own_head(self) -> nn.Linear:
        if not isinstance(self.backbone.head, nn.Linear):
            raise SettingsError(["supernet: the backbone has no head; give num_classes"])
        return copy.deepcopy(self.backbone.head).requires_grad_(True)

    @property
    def last_readers(self) -> Readers:
        """What the head reads of the last block."""
        return Readers.CLASS if self.backbone.global_pool == "token" else Readers.PATCHES

    @property
    def num_classes(self) -> int:
        """Number of classes of the head."""
        return self.head.out_features

    def train(self, mode: bool = True) -> Self:
        """Switch dropout of the modules and drop-path; the frozen backbone always stays in evaluation mode."""
        super().train(mode)
        self.backbone.eval()
        return self

    def trainable_state(self) -> dict[str, Tensor]:
        """The weights of modules and head, without the backbone's."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("backbone.")}

    def load_trainable_state(self, state: dict[str, Tensor]) -> None:
        """Load what `trainable_state` gave; keys and shapes have to fit exactly."""
        missing = set(self.trainable_state()) ^ set(state)
        if missing:
            raise SettingsError([f"supernet: these weights do not fit the modules: {', '.join(sorted(missing)[:5])}"])
        self.load_state_dict(state, strict=False)

    def forward(self, images: Tensor, subnet: Subnet) -> Tensor:
        """Logits (B, classes) of normalised `images` (B, 3, H, W) through one subnet.

        Raises:
            SettingsError: If the subnet does not fit inside the largest widths.
        """
        self.check_fits(subnet)
        backbone = self.backbone
        x = backbone.norm_pre(backbone._pos_embed(backbone.patch_embed(images)))
        for index, plan in enumerate(plan_tokens(subnet.prompt, self.last_readers)):
            if self.activation_checkpointing and torch.is_grad_enabled():
                x = checkpoint(self._block, x, index, subnet, plan, use_reentrant=False)
            else:
                x = self._block(x, index, subnet, plan)
        features = backbone.fc_norm(pool(self.last_readers, backbone.norm(x)))
        logits: Tensor = self.head(features)
        return logits

    def check_fits(self, subnet: Subnet) -> None:
        """Refuse a subnet that is deeper or wider than this supernet."""
        if not subnet.fits_inside(self.largest):
            raise SettingsError(
                [f"subnet: {subnet.to_json()} does not fit inside this supernet's largest {self.largest.to_json()}"]
            )

    def _block(self, x: Tensor, index: int, subnet: Subnet, plan: BlockPlan) -> Tensor:
        block = self.backbone.blocks[index]
        _, rank, width = subnet.block(index)
        new_tokens = self._new_tokens(index, plan, x.shape[0])
        if new_tokens is not None and plan.passed_on:
            x = append_tokens(x, new_tokens, dim=1)
        carried = plan.passed_on or plan.carried
        read = read_tokens(plan.readers, self.backbone.num_prefix_tokens, x.shape[1], carried, plan.passed_on)

        h = block.norm1(x)
        queries, keys, values = self._project(index, h, read, rank)
        if new_tokens is not None and not plan.passed_on:
            prompt_kv = self._linear(index, block.norm1(new_tokens), rank, _KEYS_VALUES)
            prompt_keys, prompt_values = keys_and_values(block.attn, prompt_kv)
            keys, values = append_tokens(keys, prompt_keys, dim=2), append_tokens(values, prompt_values, dim=2)
        attended = block.attn.proj(attend(block.attn, queries, keys, values))

        rate = self.drop_path_rates[index]
        x = x[:, read] + drop_path(block.ls1(attended), rate, self.training)
        m = block.ls2(block.mlp(block.norm2(x)))
        if width:
            m = m + self.adapters[index](m, width)
        result: Tensor = x + drop_path(m, rate, self.training)
        return result

    def _new_tokens(self, index: int, plan: BlockPlan, batch: int) -> Tensor | None:
        if not plan.new_prompts:
            return None
        copies = batch if self.prompt_dropout_per_image and self.training else 1
        tokens: Tensor = self.prompts[index](plan.new_prompts, copies)
        return tokens

    def _project(self, index: int, h: Tensor, read: slice, rank: int) -> tuple[Tensor, Tensor, Tensor]:
        attention = self.backbone.blocks[index].attn
        if len(range(*read.indices(h.shape[1]))) == h.shape[1]:
            queries, kv = self._linear(index, h, rank, slice(None)).tensor_split([attention.attn_dim], dim=-1)
        else:
            queries = self._linear(index, h[:, read], rank, _QUERIES)
            kv = self._linear(index, h, rank, _KEYS_VALUES)
        queries = attention.q_norm(split_heads(queries, attention.num_heads))
        return (queries, *keys_and_values(attention, kv))

    def _linear(self, index: int, h: Tensor, rank: int, part: slice) -> Tensor:
        qkv = self.backbone.blocks[index].attn.qkv
        rows = _rows(part, qkv.out_features)
        projected = F.linear(h, qkv.weight[rows], None if qkv.bias is None else qkv.bias[rows])
        if rank:
            projected = projected + self.loras[index](h, rank, rows)
        return projected


_QUERIES = slice(0, 1)
_KEYS_VALUES = slice(1, 3)


def _rows(thirds: slice, features: int) -> slice:
    """The rows of the stacked query, key and value projection that `thirds` names."""
    third = features // 3
    start, stop, _ = thirds.indices(3)
    return slice(start * third, stop * third)


def _frozen(backbone: nn.Module) -> Any:
    """The backbone in evaluation mode and without gradients; typed loosely, as timm's parts carry no types."""
    return backbone.requires_grad_(False).eval()


def _fresh_head(embed_dim: int, num_classes: int) -> nn.Linear:
    head = nn.Linear(embed_dim, num_classes)
    nn.init.trunc_normal_(head.weight, std=0.02)
    nn.init.zeros_(head.bias)
    return head


def slice_trainable_state(supernet: Supernet, subnet: Subnet) -> dict[str, Tensor]:
    """The trainable weights that a subnet uses, cut out of the supernet's, to start a smaller supernet from."""
    smaller = Supernet(supernet.backbone, subnet, num_classes=supernet.num_classes)
    state = supernet.trainable_state()
    with torch.no_grad():
        return {
            name: state[name][tuple(slice(size) for size in value.shape)].clone()
            for name, value in smaller.trainable_state().items()
        }
