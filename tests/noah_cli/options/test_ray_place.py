"""`--ray` stands alone or before a place, and takes nothing else for one."""

from __future__ import annotations

import pytest

from noah_cli.options.ray_place import with_ray_place


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("benchmark pocket --ray", "benchmark pocket --ray local"),
        ("benchmark --ray pocket", "benchmark --ray local pocket"),
        ("benchmark pocket --ray --seeds 0", "benchmark pocket --ray local --seeds 0"),
        ("benchmark pocket --ray auto --seeds 0", "benchmark pocket --ray auto --seeds 0"),
        ("benchmark pocket --ray 10.0.0.1:6379", "benchmark pocket --ray 10.0.0.1:6379"),
        ("benchmark pocket --ray=auto", "benchmark pocket --ray=auto"),
        ("predict a --ray -- auto", "predict a --ray local -- auto"),
        ("predict a -- --ray", "predict a -- --ray"),
        ("recipes", "recipes"),
    ],
)
def test_where_the_place_is_written(typed: str, read: str) -> None:
    assert with_ray_place(typed.split()) == read.split()
