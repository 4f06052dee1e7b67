"""hypothesis strategies for the values of the method."""

from __future__ import annotations

from hypothesis import strategies as st

from noah.space.kinds import KINDS, PUBLISHED
from noah.space.module_space import ModuleSpace
from noah.space.search_space import SearchSpace
from noah.space.subnet import Subnet


@st.composite
def subnets(draw: st.DrawFn, depth: int, *, prompt: int = 4, lora: int = 3, adapter: int = 5) -> Subnet:
    """Any subnet of that depth up to these widths, gaps included."""
    return Subnet(
        *(
            draw(st.lists(st.integers(0, largest), min_size=depth, max_size=depth))
            for largest in (prompt, lora, adapter)
        )
    )


@st.composite
def spaces(draw: st.DrawFn, *, max_blocks: int = 5, least_depth: int = 1, others: int = 2) -> SearchSpace:
    """Any small search space of the published kinds and some others, in any placement.

    With `least_depth` 0, modules may be missing.
    """
    blocks = draw(st.integers(1, max_blocks))
    modules = {}
    more = draw(st.lists(st.sampled_from([name for name in KINDS if name not in PUBLISHED]), max_size=others))
    for name in (*PUBLISHED, *more):
        largest = 1 if KINDS[name].is_switch else 12
        widths = tuple(sorted(draw(st.sets(st.integers(1, largest), max_size=3))))
        depths = tuple(sorted(draw(st.sets(st.integers(least_depth, blocks), min_size=1, max_size=3))))
        modules[name] = ModuleSpace(widths, depths) if widths else ModuleSpace((), (0,))
    return SearchSpace(
        blocks, draw(st.sampled_from([4, 7, 16])), modules, draw(st.sampled_from(["first", "last", "any"]))
    )
