from __future__ import annotations

from noah.data.sources.mistakes import quoted, quoted_path


def test_of_a_long_path_the_end_is_told() -> None:
    told = quoted_path("/a" * 300 + "/unnamed.png")
    assert told.startswith("...") and told.endswith("/unnamed.png") and len(told) <= len(quoted("x" * 600))
    assert quoted_path("photos/1.png") == "photos/1.png"
