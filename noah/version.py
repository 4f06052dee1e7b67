"""The version of the distribution `noah-prompt-search`."""

__version__ = "0.1.0"
