"""The drawings of docs/method.md are well-formed, say in words what they show, and need nothing but themselves."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "images"
SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("method-*.svg")), ids=lambda path: path.name)
def test_a_drawing(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.attrib["viewBox"].split() == ["0", "0", root.attrib["width"], root.attrib["height"]]
    assert int(root.attrib["width"]) <= 760
    named = {element.attrib["id"]: element for element in root.iter() if "id" in element.attrib}
    assert [named[name].tag for name in root.attrib["aria-labelledby"].split()] == [f"{SVG}title", f"{SVG}desc"]
    assert all((named[name].text or "").strip() for name in root.attrib["aria-labelledby"].split())
    assert re.findall(r"https?://[^\"]+", text) == [SVG[1:-1]]  # the name of the format, which nobody fetches
    referred = re.findall(r"(?:url\(|href=\")#([\w-]+)", text)
    assert set(referred) <= set(named)
    assert f"images/{path.name}" in (FOLDER.parent / "method.md").read_text(encoding="utf-8")
