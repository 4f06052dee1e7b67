"""hypothesis strategies for the values of the method."""

from __future__ import annotations

from hypothesis import strategies as st

from noah.space.kinds import PUBLISHED
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
def spaces(draw: st.DrawFn, *, max_blocks: int = 5, least_depth: int = 1) -> SearchSpace:
    """Any small search space, with modules in the first blocks or in any; `least_depth` 0: also ones that may miss."""
    blocks = draw(st.integers(1, max_blocks))
    modules = {}
    for name in PUBLISHED:
        widths = tuple(sorted(draw(st.sets(st.integers(1, 12), max_size=3))))
        depths = tuple(sorted(draw(st.sets(st.integers(least_depth, blocks), min_size=1, max_size=3))))
        modules[name] = ModuleSpace(widths, depths) if widths else ModuleSpace((), (0,))
    return SearchSpace(
        blocks, draw(st.sampled_from([4, 7, 16])), modules, draw(st.sampled_from(["first", "last", "any"]))
    )
