"""NOAH, Neural Prompt Search (Zhang, Zhou, Liu, 2022, arXiv 2206.04673): the method.

Importing this package imports no heavy library, so that an exported artefact can be run without torch.
"""

from noah.version import __version__

__all__ = ["__version__"]
