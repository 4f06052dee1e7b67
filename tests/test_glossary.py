"""One word for one thing: what people read has the words of the field, in American spelling."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("noah", "noah_cli", "export")
BANNED = {
    r"super[- ]net(work)?s?|supernetworks?": "supernet",
    r"sub[- ]net(work)?s?|subnetworks?|sub[- ]?models?": "subnet",
    r"adaptors?": "adapter",
    r"soft[- ]prompts?|prompt[- ]tokens?[- ]tuning": "prompt",
    r"Lora|LORA": "LoRA",
    r"[Aa]rtefacts?": "artifact",
    r"[Dd]ata[ -]sets?": "dataset",
    r"[Hh]yper-parameters?": "hyperparameter",
    r"[Cc]heck-points?": "checkpoint",
    r"[Ff]inetun\w+|[Ff]ine tun\w+": "fine-tune",
    r"\w*[Cc]olour\w*": "color",
    r"\w*(?:[Nn]ormalis|[Qq]uantis|[Oo]ptimis|[Ii]nitialis)\w*": "-ize",
    r"\w*(?:[Gg]eneralis|[Ss]erialis|[Mm]inimis|[Mm]aximis|[Ss]ummaris|[Rr]ecognis)\w*": "-ize",
    r"learnt|spelt|misspelt|whilst|amongst|grey\w*|licences?": "the American spelling",
    r"analyse\w*|behaviours?|favour\w*|neighbour\w*|centre[ds]?|labell\w+|modell\w+|judgement": "the American spelling",
}
"""What is not written -> what is written instead."""
BARE = re.compile(
    r"`[^`]*`|\"[^\"]*\"|<\w+>|https?:\S+|\]\([^)]*\)|\w*[_./:=]\w[\w./:=-]*|--[\w-]+|^ +\w+: |^## noah \w+",
    re.MULTILINE,
)
"""Names of the code, arguments in docstrings, and what a person types, which are spelled as they are."""


def offences(text: str) -> list[str]:
    """Every word that has another one, in a text without the names in it."""
    prose = " ".join(BARE.sub(" ", text).split())
    return [
        f"{match[0]!r}, not {word!r}, in {prose[max(0, match.start() - 40) : match.end() + 40].strip()!r}"
        for pattern, word in BANNED.items()
        for match in re.finditer(rf"(?<![\w-])(?:{pattern})(?![\w-])", prose)
    ]


def sentences(path: Path) -> Iterator[tuple[int, str]]:
    """Every string of a source file that holds words, with its line: messages, helps, titles, docstrings."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value.strip():
            yield node.lineno, node.value


def prose(path: Path) -> str:
    """A page without what is shown as typed or printed, and a template without its markup."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".j2":
        return re.sub(
            r"<(style|script|code)\b.*?</\1>|\{%.*?%\}|\{\{.*?\}\}|\{#.*?#\}|<[^>]*>", " ", text, flags=re.DOTALL
        )
    return re.sub(r"^```.*?^```|^(    |\t).*?$", " ", text, flags=re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("package", PACKAGES)
def test_messages_and_docstrings(package: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: {offence}"
        for path in sorted((ROOT / package).rglob("*.py"))
        for line, text in sentences(path)
        for offence in offences(text)
    ]
    assert not found, "\n".join(found)


PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*.md"))]
TEMPLATES = sorted((ROOT / "noah_cli" / "report" / "templates").glob("*.j2"))


@pytest.mark.parametrize("path", [*PAGES, *TEMPLATES], ids=lambda path: path.name)
def test_pages_and_templates(path: Path) -> None:
    found = offences(prose(path))
    assert not found, "\n".join(found)


def test_the_words_themselves_are_explained() -> None:
    words = (
        (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition("## Words")[2].partition("\n## ")[0]
    )
    for word in (
        *("backbone", "module", "width", "subnet", "search space", "budget", "supernet", "candidate", "winner"),
        *("merge", "artifact", "engine", "manifest", "run", "stage", "recipe", "split", "checkpoint", "weights"),
    ):
        assert re.search(rf"\*\*{word}s?\*\*", words), word


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("The super-network and its sub-networks.", 2),
        ("Normalised colours of the data set", 3),
        ("the artefact, its hyper-parameters and its licence", 3),
        ("`normalise` in export/quantise.py, --colour NAME", 0),
        ("a subnet of the supernet, normalized, of the dataset's test set", 0),
    ],
)
def test_the_test_finds_what_it_looks_for(text: str, count: int) -> None:
    assert len(offences(text)) == count
