"""The finished run, for the tests of this folder."""

from tests.finished import finished, project

__all__ = ["finished", "project"]
