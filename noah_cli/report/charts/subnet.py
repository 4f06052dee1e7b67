"""Heat maps of blocks x modules: the widths of the subnet, and how much each of them matters."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from noah.nas.gene_importance import GeneImportance
from noah.space.kinds import with_published
from noah.space.subnet import Subnet
from noah_cli.report.charts.drawing import INK, LINE, MUTED, Drawing, draw, module_color, module_name, module_word

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_STRONGEST = 0.62
"""Opacity of the strongest cell: text stays legible on it in the light and the dark scheme."""
_FAINTEST = 0.12


def draw_subnet(subnet: Subnet, widest: Mapping[str, int], parameters: int | None) -> Drawing:
    """Draw the widths of a subnet as a heat map with the widths written in it.

    Args:
        subnet: The subnet to draw.
        widest: For each module, the width that gets the strongest color.
        parameters: Number of trainable parameters, if known.
    """
    shown = with_published(subnet.kinds)
    blocks = ", ".join(
        f"block {b + 1}: {', '.join(f'{kind} {width}' for kind, width in subnet.block(b).items()) or 'nothing'}"
        for b in range(subnet.depth)
    )

    def fill(module: str, block: int) -> tuple[float, str, bool]:
        width = subnet.widths(module)[block]
        share = width / max(widest.get(module, 0), max(subnet.widths(module)), 1)
        opacity = _FAINTEST + (_STRONGEST - _FAINTEST) * share if width else 0.0
        return opacity, str(width) if width else "·", False

    return draw(
        "architecture",
        "Widths of the subnet, block by block",
        description=f"A heat map of {subnet.depth} blocks by {len(shown)} kinds of module. {blocks}.",
        caption="Each column is a block of the backbone, with the first on the left. The number is the width of the "
        "module in that block, and 1 for one without a width; a dot means that the block has none. The stronger the "
        "color, the closer the width is to the largest that the search space allows for this module.",
        height=_height(shown),
        paint=lambda figure: _paint(figure, subnet.depth, shown, fill),
        wide=True,
    )


def draw_importance(found: GeneImportance, depth: int) -> Drawing:
    """Draw the importance of each width as a heat map; widths that beat chance are framed.

    Args:
        found: The importance of each width, and what chance reaches.
        depth: Number of blocks.
    """
    important = set(found.important)
    largest = max((v for row in found.importance.values() for v in row if v is not None), default=0.0)

    def fill(module: str, block: int) -> tuple[float, str, bool]:
        value = found.importance[module][block]
        if value is None:
            return 0.0, "\N{EN DASH}", False
        share = max(value, 0.0) / largest if largest > 0 else 0.0
        return _STRONGEST * share, f"{100 * max(value, 0.0):.1f}", (module, block) in important

    named = ", ".join(f"{module_word(module)} in block {block + 1}" for module, block in found.important) or "none"
    return draw(
        "importance",
        "Importance of each width, in percent of the variance of accuracy",
        description=f"A heat map of {depth} blocks by {len(found.importance)} kinds of module. "
        f"Widths that beat chance: {named}.",
        caption="How much of the variance in accuracy a random forest can no longer explain when this width is "
        f"shuffled. A frame marks widths above {100 * found.chance:.1f}, the most that meaningless copies of the "
        "widths reached by chance; the others cannot be told from noise. A dash means that all candidates have the "
        "same width.",
        height=_height(found.importance),
        paint=lambda figure: _paint(figure, depth, list(found.importance), fill),
        wide=True,
    )


def _height(kinds: Collection[str]) -> float:
    """The height of a heat map in inches: half an inch for each kind, plus the axis."""
    return 0.75 + 0.5 * len(kinds)


def _paint(
    figure: Figure, depth: int, kinds: Sequence[str], fill: Callable[[str, int], tuple[float, str, bool]]
) -> None:
    """Paint blocks across and modules down; `fill` gives the opacity, text and frame of each cell."""
    from matplotlib.patches import FancyBboxPatch

    axes = figure.add_subplot()
    for row, module in enumerate(kinds):
        for block in range(depth):
            opacity, text, framed = fill(module, block)
            place = (block + 0.04, row + 0.06)
            rounded = "round,pad=0,rounding_size=0.1"
            axes.add_patch(FancyBboxPatch(place, 0.92, 0.88, boxstyle=rounded, facecolor="none", edgecolor=LINE))
            axes.add_patch(
                FancyBboxPatch(
                    place, 0.92, 0.88, boxstyle=rounded, facecolor=module_color(module), alpha=opacity, linewidth=0
                )
            )
            if framed:
                axes.add_patch(
                    FancyBboxPatch(place, 0.92, 0.88, boxstyle=rounded, facecolor="none", edgecolor=INK, linewidth=1.6)
                )
            axes.text(
                block + 0.5,
                row + 0.5,
                text,
                ha="center",
                va="center",
                fontsize=11 if depth <= 16 else 8.5,
                color=INK if opacity else MUTED,
            )
    _label(axes, depth, [module_name(module) for module in kinds])


def _label(axes: Axes, depth: int, rows: Sequence[str]) -> None:
    axes.set_xlim(0, depth)
    axes.set_ylim(len(rows), 0)
    axes.grid(False)
    axes.set_xticks([block + 0.5 for block in range(depth)], [str(block + 1) for block in range(depth)])
    axes.set_yticks([row + 0.5 for row in range(len(rows))], rows)
    axes.tick_params(length=0)
    axes.tick_params(axis="y", labelcolor=INK)
    axes.set_xlabel("block")
    for spine in axes.spines.values():
        spine.set_visible(False)
