"""The subnet: which module, how wide, in which block."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

from noah.errors import SettingsError

MODULES: tuple[str, str, str] = ("prompt", "lora", "adapter")
"""The three kinds of module, in the order in which they act inside a block."""


@dataclass(frozen=True, slots=True, init=False)
class Subnet:
    """Three widths per block; 0 means that the module is absent.

    A subnet is a value: immutable, hashable, comparable and serializable. It holds no weights; a supernet or
    `noah.model.merge.merge` takes it as an argument.

    Args:
        prompt: The number of prompt tokens that each block adds.
        lora: The rank of LoRA on the query, key and value projections of each block.
        adapter: The bottleneck size of the adapter after the MLP of each block.

    Raises:
        SettingsError: If the three differ in length, are empty, or hold anything but whole numbers >= 0.
    """

    prompt: tuple[int, ...]
    lora: tuple[int, ...]
    adapter: tuple[int, ...]

    def __init__(self, prompt: Iterable[int], lora: Iterable[int], adapter: Iterable[int]) -> None:
        for module, widths in zip(MODULES, (prompt, lora, adapter), strict=True):
            object.__setattr__(self, module, tuple(widths))
        problems = [
            f"subnet: {module} has the width {width!r} in block {block}; a width is a whole number, 0 or more"
            for module in MODULES
            for block, width in enumerate(self.widths(module))
            if isinstance(width, bool) or not isinstance(width, int) or width < 0
        ]
        if len({len(self.widths(module)) for module in MODULES}) != 1 or not self.prompt:
            lengths = ", ".join(f"{module} {len(self.widths(module))}" for module in MODULES)
            problems.append(f"subnet: every module needs one width per block, and at least one block; given: {lengths}")
        if problems:
            raise SettingsError(problems)

    @property
    def depth(self) -> int:
        """Number of blocks."""
        return len(self.prompt)

    def widths(self, module: str) -> tuple[int, ...]:
        """The widths of one module ("prompt", "lora" or "adapter"), block by block."""
        widths: tuple[int, ...] = getattr(self, module)
        return widths

    def block(self, index: int) -> tuple[int, int, int]:
        """The widths of prompt, LoRA and adapter in one block."""
        return self.prompt[index], self.lora[index], self.adapter[index]

    def parameter_count(self, embed_dim: int) -> int:
        """Count the modules' trainable parameters; the head is trained too but not counted.

        It is the sum over blocks of p D + 4 D r + (2 D a + a + D if a > 0), with D = `embed_dim`.
        """
        return sum(module_parameters(module, width, embed_dim) for module in MODULES for width in self.widths(module))

    def reference_count(self, embed_dim: int, largest_prompt: int) -> int:
        """Count parameters as the published code reports them, for comparison with the paper's tables.

        It also counts tokens added before block 0, which block 0's own prompt replaces at once, and their position
        embedding: (p0 + `largest_prompt`) D dead parameters where p0 > 0.

        Args:
            embed_dim: Width D of the backbone.
            largest_prompt: The number of prompt tokens that the published supernet was built with.
        """
        dead = (self.prompt[0] + largest_prompt) * embed_dim if self.prompt[0] else 0
        return self.parameter_count(embed_dim) + dead

    def fits_inside(self, largest: Subnet) -> bool:
        """Whether no width exceeds that of `largest` in the same module and block."""
        return self.depth == largest.depth and all(
            width <= limit
            for module in MODULES
            for width, limit in zip(self.widths(module), largest.widths(module), strict=True)
        )

    def to_json(self) -> dict[str, list[int]]:
        """The widths as a mapping of three lists, as written to files."""
        return {field.name: list(self.widths(field.name)) for field in fields(self)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | str) -> Self:
        """Read what `to_json` gave, as a mapping or as JSON text.

        Raises:
            SettingsError: If it is not a subnet; it names every problem.
        """
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except (ValueError, RecursionError) as error:
                raise SettingsError([f"subnet: not JSON ({error})"]) from error
        if not isinstance(value, Mapping) or set(value) != set(MODULES):
            keys = ", ".join(sorted(map(str, value))) if isinstance(value, Mapping) else type(value).__name__
            raise SettingsError([f"subnet: expected the keys prompt, lora and adapter, found: {keys}"])
        not_lists = [module for module in MODULES if not isinstance(value[module], Sequence)]
        if not_lists or any(isinstance(value[module], str) for module in MODULES):
            raise SettingsError(["subnet: prompt, lora and adapter are lists of widths, one per block"])
        return cls(**{module: value[module] for module in MODULES})

    @classmethod
    def uniform(cls, depth: int, *, prompt: int = 0, lora: int = 0, adapter: int = 0) -> Self:
        """Make a subnet with the same three widths in each of `depth` blocks."""
        return cls(prompt=[prompt] * depth, lora=[lora] * depth, adapter=[adapter] * depth)


def module_parameters(module: str, width: int, embed_dim: int) -> int:
    """Count the trainable parameters of one module in one block.

    Args:
        module: "prompt", "lora" or "adapter".
        width: The module's width; 0 costs nothing.
        embed_dim: Width D of the backbone.
    """
    match module:
        case "prompt":
            return width * embed_dim
        case "lora":
            return 4 * embed_dim * width
        case "adapter":
            return 2 * embed_dim * width + width + embed_dim if width else 0
    raise ValueError(f"no module is named {module!r}")
