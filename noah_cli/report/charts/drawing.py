"""How figures look, and how they become files and parts of the page.

A figure is drawn once, in a few named colors on white, which its files keep. In the page, each color becomes a CSS
variable, so that the same drawing works in the light and the dark scheme; text stays text.

matplotlib's global state is not used: figures are made without pyplot, and settings only hold inside `style`.
"""

from __future__ import annotations

import html
import io
import re
import textwrap
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noah.space.kinds import KINDS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, LINE, PAPER = "#17212b", "#5c6977", "#d5dce3", "#ffffff"
ACCENT, PROMPT, LORA, ADAPTER, BAD = "#3553cc", "#b8690b", "#3553cd", "#0d7f6e", "#c0354a"
_KIND_COLORS = {
    "prompt": (PROMPT, "#f0ae55"),
    "lora": (LORA, "#8ea6ff"),
    "adapter": (ADAPTER, "#4fd0ba"),
    "lora_proj": ("#8c5ff7", "#a671f9"),
    "lora_fc1": ("#851642", "#ce2f68"),
    "lora_fc2": ("#62089d", "#9059a4"),
    "bias": ("#e54bae", "#c1778f"),
    "scale_shift": ("#354c70", "#416bd3"),
    "linear_adapter_attention": ("#7b4e12", "#ad5b15"),
    "linear_adapter_mlp": ("#809c6d", "#77a516"),
    "adapter_plus": ("#3a97d9", "#389dc7"),
}
"""Each kind's color in the light and in the dark scheme, chosen by a search so that any two can be told apart with each
kind of color vision, and the text on them read."""
VARIABLES = {INK: "ink", MUTED: "muted", LINE: "line", PAPER: "paper", ACCENT: "accent", BAD: "bad"} | {
    light: kind for kind, (light, _) in _KIND_COLORS.items()
}
"""The page's variable for each color of a figure."""
_KIND_WORDS = {"prompt": "prompt", "lora": "LoRA", "adapter": "adapter"}
_KIND_NAMES = {"prompt": "prompt tokens", "lora": "LoRA rank", "adapter": "adapter width"}


def module_color(kind: str) -> str:
    """Give the color of a kind of module in figures."""
    return _KIND_COLORS[kind][0]


def module_colors_css() -> str:
    """Define a variable of the page for each kind of module; paper is printed in the light scheme."""
    light, dark = (
        ":root { " + " ".join(f"--{kind}: {colors[scheme]};" for kind, colors in _KIND_COLORS.items()) + " }"
        for scheme in range(2)
    )
    return f"{light}\n@media screen and (prefers-color-scheme: dark) {{ {dark} }}\n"


def module_word(kind: str) -> str:
    """Name a kind of module as in the middle of a sentence."""
    return _KIND_WORDS.get(kind, KINDS[kind].words)


def module_name(kind: str) -> str:
    """Name a kind of module for the label of a row of its widths, in lines of at most 30 characters."""
    return _KIND_NAMES.get(kind, "\n".join(textwrap.wrap(KINDS[kind].words, 30)))


NARROW, WIDE = 5.2, 10.4
"""Widths of figures in inches: half of the page, and the whole page."""
_PIXELS_PER_INCH = 200


@dataclass(frozen=True, slots=True)
class Drawing:
    """A finished figure.

    Args:
        name: File name without suffix.
        title: What it shows, in a few words.
        description: Text alternative for readers who cannot see it.
        caption: Explains how to read it.
        svg: Content of the SVG file.
        png: Content of the PNG file.
        wide: Whether it takes the whole width of the page; else half.
    """

    name: str
    title: str
    description: str
    caption: str
    svg: str
    png: bytes
    wide: bool

    @property
    def inline(self) -> str:
        """The SVG as a part of the page: without prolog, with colors as variables, and with ids unique in the page.

        It is safe to insert into HTML as it is: all text in it was escaped when it was written.
        """
        start = self.svg.index("<svg ")
        body = re.sub(r"<metadata>.*?</metadata>", "", self.svg[start:], flags=re.DOTALL)
        body = re.sub(r'(?<= id=")|(?<=url\(#)|(?<=xlink:href="#)', f"{self.name}-", body)
        body = body.replace("xlink:href=", "href=")
        body = re.sub(r'(?<= style=")[^"]*', _with_variables, body)
        opening, rest = body.split(">", 1)
        box = re.search(r'viewBox="[^"]*"', opening)
        assert box is not None  # matplotlib always writes a viewBox
        return (
            f'<svg {box[0]} role="img" aria-label="{html.escape(f"{self.title}. {self.description}")}">{rest.strip()}'
        )


def _with_variables(style: re.Match[str]) -> str:
    text = style[0].replace(f"fill: {PAPER}", "fill: none")  # drop the figure's own background: the page has one
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    return text


def style() -> AbstractContextManager[None]:
    """Set matplotlib's settings for making and writing figures until the end of the `with` block."""
    import matplotlib

    return matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "noah",
            "font.family": "sans-serif",
            "font.sans-serif": ["DejaVu Sans"],
            "font.size": 9.5,
            "text.color": INK,
            "text.parse_math": False,  # a class may be called $x
            "axes.edgecolor": LINE,
            "axes.labelcolor": MUTED,
            "axes.facecolor": "none",
            "axes.titlesize": 10,
            "axes.titlelocation": "left",
            "axes.titleweight": "bold",
            "axes.grid": True,
            "axes.axisbelow": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.linewidth": 1.0,
            "grid.color": LINE,
            "grid.linewidth": 0.7,
            "xtick.color": LINE,
            "ytick.color": LINE,
            "xtick.labelcolor": MUTED,
            "ytick.labelcolor": MUTED,
            "legend.frameon": False,
            "legend.labelcolor": INK,
            "legend.fontsize": 9,
            "figure.facecolor": PAPER,
            "savefig.facecolor": PAPER,
            "patch.edgecolor": "none",
        }
    )


def draw(
    name: str,
    title: str,
    *,
    description: str,
    caption: str,
    height: float,
    paint: Callable[[Figure], None],
    wide: bool = False,
) -> Drawing:
    """Make a figure and write it as SVG and PNG; the same arguments give the same bytes.

    Args:
        name: File name without suffix.
        title: What it shows, in a few words.
        description: Text alternative for readers who cannot see it.
        caption: Explains how to read it.
        height: Height in inches.
        paint: Fills the empty figure.
        wide: Whether it takes the whole width of the page; else half.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with style():
        figure = Figure(figsize=(WIDE if wide else NARROW, height), layout="constrained")
        FigureCanvasAgg(figure)
        paint(figure)
        svg, png = io.StringIO(), io.BytesIO()
        figure.savefig(svg, format="svg", metadata={"Date": None, "Creator": None, "Title": title})
        figure.savefig(png, format="png", dpi=_PIXELS_PER_INCH, metadata={"Software": None, "Title": title})
    return Drawing(name, title, description, caption, svg.getvalue(), png.getvalue(), wide)


def percent_axis(axes: Axes, which: str, *, digits: int = 0) -> None:
    """Label an axis of shares in percent.

    Args:
        axes: The axes to change.
        which: "x" or "y".
        digits: Digits after the decimal point.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 2.5, 5, 10]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:.{digits}f}%"))


def count_axis(axes: Axes, which: str) -> None:
    """Label an axis ("x" or "y") with whole numbers and thousands separators."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(6, integer=True))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))


def count_axis_of_powers(axes: Axes, which: str) -> None:
    """Label a logarithmic axis ("x" or "y") with whole numbers."""
    from matplotlib.ticker import FuncFormatter, LogLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(numticks=5))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.minorticks_off()


def shorten(text: str, length: int = 18) -> str:
    """Cut a name so that it fits beside an axis."""
    return text if len(text) <= length else f"{text[: length - 1]}…"
