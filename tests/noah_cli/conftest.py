"""The finished run, for the tests of this folder."""

from tests.finished import engines, finished, project

__all__ = ["engines", "finished", "project"]
