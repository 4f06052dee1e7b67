"""The page: whole in itself, well formed, and true to the run."""

from __future__ import annotations

import html
import json
import re
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from noah_cli.report.words import WORDS
from tests.noah_cli.report.conftest import EVIL, Reported

VOID = {"meta", "link", "img", "br", "use", "rect", "path"}


class Page(HTMLParser):
    """The tags of a page in order, with their attributes, and the text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every such tag."""
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture(scope="module")
def page(reported: Reported) -> Page:
    return Page(reported.page)


def test_every_tag_is_closed(page: Page) -> None:
    assert page.open == []


def test_it_is_small_and_needs_nothing_from_elsewhere(reported: Reported, page: Page) -> None:
    assert len(reported.page.encode()) < 2_000_000
    assert page.all("script") == [] and page.all("iframe") == [] and page.all("object") == []
    references = [
        value for _, attributes in page.tags for name, value in attributes.items() if name in ("src", "href", "action")
    ]
    assert references
    assert all(value is not None and value.startswith(("#", "data:")) for value in references)
    assert "@import" not in reported.page
    assert set(re.findall(r"url\((.)", reported.page)) <= {"#"}
    assert not re.findall(r"https?://", reported.page)
    policy = next(meta["content"] for meta in page.all("meta") if meta.get("http-equiv") == "Content-Security-Policy")
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def test_names_of_the_data_are_escaped(reported: Reported, page: Page) -> None:
    assert "<script" not in reported.page
    assert html.escape(EVIL, quote=False)[:15] in reported.page
    assert EVIL in page.text


def test_names_are_unique_and_references_lead_somewhere(reported: Reported, page: Page) -> None:
    names = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert len(names) == len(set(names))
    inside = {
        value for tag in page.tags for name, value in tag[1].items() if name == "href" and value and value[0] == "#"
    }
    inside |= {f"#{name}" for name in re.findall(r"url\(#([^)]+)\)", reported.page)}
    assert inside and {str(value)[1:] for value in inside} <= set(names)


def test_headings_are_in_order(page: Page) -> None:
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))


def test_figures_are_told_in_words_and_tables_have_heads(page: Page) -> None:
    drawings = [attributes for attributes in page.all("svg") if attributes.get("role") == "img"]
    assert len(drawings) == 11
    assert all(len(attributes["aria-label"] or "") > 40 for attributes in drawings)
    assert all(attributes.get("alt") for attributes in page.all("img"))
    assert all(attributes.get("scope") in ("col", "row") for attributes in page.all("th"))
    assert page.all("html")[0]["lang"] == "en"


def test_wide_things_scroll_in_a_box_that_the_keyboard_reaches(page: Page) -> None:
    boxes = [a for a in page.all("div") if (a.get("class") or "").split()[:1] == ["scroll"]]
    assert len(boxes) >= len(page.all("table")) + 11
    assert all(box["tabindex"] == "0" and box["role"] == "region" and box["aria-label"] for box in boxes)


def test_colors_of_figures_follow_the_scheme(reported: Reported) -> None:
    drawings = "".join(re.findall(r"<svg .*?</svg>", reported.page, flags=re.DOTALL))
    assert "var(--ink)" in drawings and "var(--muted)" in drawings
    assert (
        set(re.findall(r"#[0-9a-f]{6}", re.sub(r'aria-label="[^"]*"|url\(#[^)]*\)|href="#[^"]*"', "", drawings)))
        <= set()
    )
    assert "prefers-color-scheme: dark" in reported.page and "@media print" in reported.page


def test_every_word_is_told_in_a_sentence(page: Page) -> None:
    for word, sentence in WORDS.items():
        assert word in page.text and sentence in page.text
        assert sentence.endswith(".") and sentence.count(". ") == 0


def test_the_figures_are_those_of_the_run(reported: Reported, page: Page) -> None:
    words = " ".join(page.text.split())
    test = json.loads((reported.run / "eval" / "test.json").read_text())
    best = json.loads((reported.run / "search" / "best.json").read_text())
    manifest = json.loads((reported.run / "export" / "onnx-fp32" / "manifest.json").read_text())
    assert f"{100 * test['accuracy']:.2f}% of {test['total']} images are right" in words
    assert f"{best['parameters']:,} trainable parameters, head not counted" in words
    assert f"{best['evaluated']} subnets were evaluated" in words
    assert f"racing saved {1 - best['images_shown'] / (best['evaluated'] * best['total']):.0%}." in words or (
        best["given_up"] == 0 and "racing saved nothing" in words
    )
    assert "expect less elsewhere" in words
    largest = max(batch["max_difference"] for parity in manifest["parity"] for batch in parity["batches"])
    assert f"{largest:.1e}".split("e")[0] in words
    assert "retrain.epochs 2" in words


def test_mistakes_are_shown_with_their_images(reported: Reported, page: Page) -> None:
    mistakes = json.loads((reported.run / "eval" / "mistakes.json").read_text())["mistakes"]
    shown = [a["src"] for a in page.all("img")]
    assert shown == [f"data:image/png;base64,{mistake['picture']}" for mistake in mistakes]
    if not mistakes:
        pytest.skip("with this torch the run that is reported makes no mistake")
