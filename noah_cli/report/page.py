"""Renders the facts and figures of a run as one HTML file that needs no others."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from decimal import Decimal
from importlib.resources import files
from typing import Any

from markupsafe import Markup

from noah.console.durations import format_seconds
from noah.evaluation.significance import Proportion
from noah.nas.gene_importance import GeneImportance
from noah.runs.mistakes import Mistake
from noah.space.kinds import KINDS, PUBLISHED
from noah.space.subnet import Subnet
from noah_cli.report.charts.drawing import Drawing, module_colors_css, module_word
from noah_cli.report.facts import Facts
from noah_cli.report.reading import Missing
from noah_cli.report.searched import Searched, order
from noah_cli.report.words import WORDS

_TEMPLATE, _STYLE = "page.html.j2", "page.css"
_LISTED = 10
"""Number of candidates in the table of the best."""
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def render_page(facts: Facts, drawings: Mapping[str, Drawing], importance: GeneImportance | Missing) -> str:
    """Render the report as HTML. All text from the run is escaped; figures were escaped when they were written.

    Args:
        facts: Everything that is known about the run.
        drawings: Figures by name.
        importance: The importance of each gene, or why it is missing.
    """
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("noah_cli.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": _percent,
        "interval": _interval,
        "count": lambda number: f"{number:,}",
        "seconds": format_seconds,
        "picture": _picture,
        "tiny": _tiny,
        "rounded": _rounded,
        "inline": lambda drawing: Markup(drawing.inline),  # see Drawing.inline
    }
    environment.tests |= {"missing": lambda value: isinstance(value, Missing)}
    style = files("noah_cli.report").joinpath("templates", _STYLE).read_text(encoding="utf-8")
    return environment.get_template(_TEMPLATE).render(
        facts=facts,
        drawings=drawings,
        importance=importance,
        words=WORDS,
        module_word=module_word,
        kinds=KINDS,
        published=PUBLISHED,
        subnet_is_known=isinstance(facts.subnet, Subnet),
        best=_best(facts),
        style=Markup(module_colors_css() + style),  # from this package, so it needs no escaping
    )


def _best(facts: Facts) -> list[dict[str, Any]]:
    """List the best candidates as rows of a table."""
    if not isinstance(facts.searched, Searched):
        return []
    winner = facts.searched.winner.candidate.index if facts.searched.winner else None
    return [
        {
            "index": candidate.index,
            "origin": candidate.origin,
            "parameters": candidate.parameters,
            "right": Proportion(candidate.score.correct, candidate.score.total),
            "cross_entropy": candidate.score.cross_entropy,
            "winner": candidate.index == winner,
        }
        for candidate in order(facts.searched)[:_LISTED]
    ]


def _percent(value: float | Proportion, digits: int = 1) -> str:
    return f"{100 * (value.share if isinstance(value, Proportion) else value):.{digits}f}%"


def _interval(value: Proportion, digits: int = 1) -> str:
    low, high = value.interval
    return f"{100 * low:.{digits}f} to {100 * high:.{digits}f}%"


def _tiny(value: float | Decimal, digits: int = 0) -> str:
    """Write a number as a factor and a power of ten; 0 stays 0."""
    if value == 0:
        return "0"
    number, exponent = f"{value:.{digits}e}".split("e")
    return f"{number} \N{MULTIPLICATION SIGN} 10{str(int(exponent)).translate(_RAISED)}"


def _rounded(number: int) -> str:
    """Write a number of subnets in full if it is small, else rounded."""
    return f"{number:,}" if number < 1_000_000 else _tiny(Decimal(number), 1)


def _picture(mistake: Mistake) -> str:
    """Encode the picture as a data URL."""
    return f"data:{mistake.media_type};base64,{base64.b64encode(mistake.picture).decode('ascii')}"
