"""The drawings of the documents are well-formed, say in words what they show, and need nothing but themselves."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from xml.etree import ElementTree

import pytest

FOLDER = Path(__file__).parent.parent / "docs" / "images"
SVG = "{http://www.w3.org/2000/svg}"
SHOWN_BY = {"method-block.svg": "method.md", "method-road.svg": "method.md", "house.svg": "architecture.md"}
"""Drawing -> the page that it belongs to."""


def test_every_drawing_is_here() -> None:
    assert {path.name for path in FOLDER.glob("*.svg")} == SHOWN_BY.keys() | {"console.svg"}


@pytest.mark.parametrize("path", [FOLDER / name for name in SHOWN_BY], ids=lambda path: path.name)
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
    assert f"images/{path.name}" in (FOLDER.parent / SHOWN_BY[path.name]).read_text(encoding="utf-8")


def test_the_house_has_the_floors_that_imports_are_held_to() -> None:
    settings = tomllib.loads((FOLDER.parent.parent / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = {contract["name"]: contract["layers"] for contract in settings["tool"]["importlinter"]["contracts"]}
    rooms = [
        room
        for package in ("noah_cli", "export", "noah")
        for floor in contracts[f"the floors of {package}"]
        for room in floor.split(" | ")
        if room not in ("__main__", "command_reference")  # the roof: what is run, and nobody imports
    ]
    drawn = [
        room
        for element in ElementTree.parse(FOLDER / "house.svg").iter(f"{SVG}text")
        if element.attrib.get("class") in ("room", "room label")
        for room in (element.text or "").split(", ")
    ]
    foundation = {"errors", "progress", "version"}
    assert [room for room in drawn if room not in foundation] == [room for room in rooms if room not in foundation]
    assert set(drawn[-len(foundation) :]) == foundation
