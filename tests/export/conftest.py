"""The finished run, for the tests of this folder, whose networks are exported once each."""

import pytest

from tests.finished import engines, finished, project

__all__ = ["engines", "finished", "project"]


@pytest.fixture(autouse=True)
def _export_once(kept_exports: None) -> None:
    """The tests of this folder export the same few networks."""
