"""The finished run, whose files are damaged."""

from tests.finished import finished

__all__ = ["finished"]
