from __future__ import annotations

import json

import pytest

from tests.commands import noah


@pytest.fixture(autouse=True)
def narrow_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")


def rows(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_what_is_covered_is_listed_with_its_cost_in_eighty_columns() -> None:
    outcome = noah("backbones", "vit_small_patch14_*")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    for row in (
        "vit_small_patch14_dinov2 22.1M 518 1,370 46.7G 1",
        "vit_small_patch14_dinov2 .lvd142m",
        "Dear at their own size; --image-size makes them cheaper:",
        "vit_small_patch14_dinov2 1,370 46.7G 224 257 6.12G",
        "2 of 2 are covered. Take one with: noah search --backbone NAME",
    ):
        assert row in rows(outcome.out)


def test_what_is_refused_is_listed_with_the_reason_and_the_nearest() -> None:
    outcome = noah("backbones", "swin_tiny_patch4")
    assert outcome.code == 0
    assert max(map(len, outcome.out.splitlines())) <= 80
    assert "Refused: its attention stays inside windows" in outcome.out
    assert any(row.startswith("swin_tiny_patch4_window7_224 ") and len(row.split()) == 2 for row in rows(outcome.out))


def test_json_has_a_row_for_each_architecture() -> None:
    outcome = noah("backbones", "test_vit", "--json")
    result = json.loads(outcome.out)
    assert result["covered"] == sum(row["covered"] for row in result["backbones"])
    (row,) = result["backbones"]
    assert (row["architecture"], row["covered"], row["reason"]) == ("test_vit", True, "")
    assert (row["image_size"], row["tokens"], row["weights"]) == ([160, 160], 101, ["r160_in1k"])


def test_a_pattern_that_matches_nothing_is_told() -> None:
    outcome = noah("backbones", "nothing_like_it")
    assert outcome.code == 2
    assert "has no architecture that matches 'nothing_like_it'" in outcome.err
