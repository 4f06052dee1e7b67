"""The finished run, for the tests of this folder."""

from tests.finished import engine_project, engines, finished, project

__all__ = ["engine_project", "engines", "finished", "project"]
