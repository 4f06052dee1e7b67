"""What comes back of a work that fails."""

from __future__ import annotations

from noah.cluster.attempts import portable
from noah.errors import DataError


def test_an_error_travels_as_it_is_or_as_its_text() -> None:
    class LocalError(Exception):
        pass

    error = DataError("wrong", "right")
    assert portable(error) is error
    assert str(portable(LocalError("far"))) == "LocalError: far"
