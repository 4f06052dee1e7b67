"""The subnet: which module, how wide, in which block."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Self

from noah.errors import SettingsError
from noah.space.kinds import BOTTLENECKS, KINDS, PUBLISHED, BlockSizes, as_sizes, in_order, price, with_published


@dataclass(frozen=True, init=False)
class Subnet:
    """A width per block for each kind of module; 0 means that the module is absent.

    A subnet is a value: immutable, hashable, comparable and serializable. It holds no weights; a supernet or a
    `noah.merge` call takes it as an argument. The widths of a kind are also an attribute of its name: `subnet.lora`.

    Args:
        prompt: Number of prompt tokens brought by each block.
        lora: Rank of LoRA on the query, key and value projection of each block.
        adapter: Bottleneck size of the adapter after the MLP of each block.
        others: Widths of any other of `noah.space.kinds.KINDS`; a kind that is not named is absent.

    Raises:
        SettingsError: If a kind is unknown, lengths differ, no kind is named, or a width is no whole number >= 0.
    """

    depth: int
    """Number of blocks."""
    present: tuple[tuple[str, tuple[int, ...]], ...]
    """The kinds that some block carries, in the order of `KINDS`, with their widths block by block."""

    def __init__(
        self,
        prompt: Iterable[int] | None = None,
        lora: Iterable[int] | None = None,
        adapter: Iterable[int] | None = None,
        **others: Iterable[int],
    ) -> None:
        named = {"prompt": prompt, "lora": lora, "adapter": adapter, **others}
        given = {name: tuple(widths) for name, widths in named.items() if widths is not None}
        problems = [f"subnet: {unknown_kind(name)}" for name in given if name not in KINDS]
        problems += [
            f"subnet: {name} has the width {width!r} in block {block}; a width is a whole number, 0 or more"
            for name in in_order(given)
            for block, width in enumerate(given[name])
            if isinstance(width, bool) or not isinstance(width, int) or width < 0
        ]
        lengths = {len(widths) for widths in given.values()}
        if len(lengths) != 1 or lengths == {0}:
            told = ", ".join(f"{name} {len(given[name])}" for name in in_order(given)) or "nothing"
            problems.append(f"subnet: every module needs one width per block, and at least one block; given: {told}")
        if problems:
            raise SettingsError(problems)
        object.__setattr__(self, "depth", lengths.pop())
        object.__setattr__(self, "present", tuple((name, given[name]) for name in in_order(given) if any(given[name])))

    def __hash__(self) -> int:
        """Of numbers alone, because those of strings differ from process to process."""
        return hash((self.depth, *(self.widths(name) for name in KINDS)))

    def __getattr__(self, name: str) -> tuple[int, ...]:
        """The widths of a kind by its name."""
        if name in KINDS:
            return self.widths(name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that some block carries."""
        return tuple(name for name, _ in self.present)

    def widths(self, kind: str) -> tuple[int, ...]:
        """The widths of one kind, block by block; all 0 where it is absent."""
        return next((widths for name, widths in self.present if name == kind), (0,) * self.depth)

    def block(self, index: int) -> dict[str, int]:
        """The kinds that one block carries, with their widths there."""
        return {name: widths[index] for name, widths in self.present if widths[index]}

    @property
    def bare_blocks(self) -> int:
        """How many blocks stand before the first one that carries a module; all of them if none does."""
        first = [next(block for block, width in enumerate(widths) if width) for _, widths in self.present]
        return min(first, default=self.depth)

    @property
    def bottlenecks(self) -> tuple[int, ...]:
        """For each block, the widths together of what remains behind it as bottlenecks when it is merged."""
        return tuple(map(sum, zip(*(self.widths(name) for name in BOTTLENECKS), strict=True)))

    def parameter_count(self, sizes: BlockSizes | int) -> int:
        """Trainable parameters of the modules; the head is trained too and not counted.

        Of the published three: the sum over blocks of p D + 4 D r + (2 D a + a + D if a > 0).

        Args:
            sizes: Of the backbone's blocks; a number stands for a plain vision transformer with tokens of that width.
        """
        of_block = as_sizes(sizes)
        return sum(price(name, width, of_block) for name, widths in self.present for width in widths)

    def reference_count(self, embed_dim: int, largest_prompt: int) -> int:
        """Count parameters as the published code reports them, for comparison with the paper's tables.

        It also counts tokens added before block 0, which block 0's own prompt replaces at once, and their position
        embedding: (p0 + `largest_prompt`) D dead parameters where p0 > 0.

        Args:
            embed_dim: Width D of the backbone.
            largest_prompt: The number of prompt tokens that the published supernet was built with.
        """
        first = self.widths("prompt")[0]
        return self.parameter_count(embed_dim) + ((first + largest_prompt) * embed_dim if first else 0)

    def fits_inside(self, largest: Subnet) -> bool:
        """Whether no width exceeds the one of `largest`, kind by kind and block by block."""
        return self.depth == largest.depth and all(
            width <= limit
            for name, widths in self.present
            for width, limit in zip(widths, largest.widths(name), strict=True)
        )

    def to_json(self) -> dict[str, list[int]]:
        """A mapping of lists, as written to files: the published kinds always, others where some block has them."""
        return {name: list(self.widths(name)) for name in with_published(self.kinds)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | str) -> Self:
        """Read what `to_json` gave, as a mapping or as JSON text.

        Raises:
            SettingsError: If it is not a subnet; it names every problem, but no more than ten unknown kinds.
        """
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise SettingsError([f"subnet: not JSON ({error})"]) from error
        if not isinstance(value, Mapping):
            raise SettingsError([f"subnet: expected a list of widths for each kind, found: {type(value).__name__}"])
        unknown = [str(name) for name in value if name not in KINDS]
        problems = [f"subnet: {unknown_kind(name)}" for name in unknown[:10]]  # a file may hold a million of them
        if not set(PUBLISHED) <= set(value):
            keys = ", ".join(sorted(map(str, value))) or "none"
            problems.append(
                "subnet: expected the keys prompt, lora and adapter, whatever other kinds there are; found: " + keys
            )
        lists = {name: isinstance(widths, Sequence) and not isinstance(widths, str) for name, widths in value.items()}
        problems += [
            f"subnet: {name} is no list of widths, one per block" for name in KINDS if not lists.get(name, True)
        ]
        if problems:
            raise SettingsError(problems)
        return cls(**value)

    @classmethod
    def uniform(cls, depth: int, **widths: int) -> Self:
        """The same widths in each of `depth` blocks; kinds that are not named are absent."""
        return cls(**({name: [0] * depth for name in PUBLISHED} | {name: [w] * depth for name, w in widths.items()}))


def unknown_kind(name: str) -> str:
    """That no kind of module has this name, with the nearest that does."""
    near = get_close_matches(name, KINDS, n=1)
    return f"no kind of module is called {name!r}; " + (
        f"the nearest is {near[0]}" if near else f"there are {', '.join(KINDS)}"
    )
