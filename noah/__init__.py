"""NOAH, Neural Prompt Search (Zhang, Zhou, Liu, 2022, arXiv 2206.04673).

    import noah

    run = noah.search(data="photos/", budget="params=0.5M", time_limit="20m", progress=True)
    run.retrain()
    print(run.evaluate())
    artifact = run.export("onnx")
    print(noah.Predictor(artifact)("more_photos/"))

The public names are loaded when they are first used. Importing the package itself imports no heavy library, so an
exported artifact runs where torch is not installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from noah.version import __version__

if TYPE_CHECKING:
    from noah import errors
    from noah.api.predictor import Prediction, Predictor
    from noah.api.results import Artifact, Evaluation, Retraining, Winner
    from noah.api.run import Run
    from noah.api.start import forecast, open_run, retrain, search
    from noah.backbone.load import load_backbone
    from noah.model.merge import merge
    from noah.model.published_weights import load_reference
    from noah.model.saved_modules import load
    from noah.model.supernet import Supernet
    from noah.space.search_space import SearchSpace
    from noah.space.subnet import Subnet

__all__ = [
    "Artifact",
    "Evaluation",
    "Prediction",
    "Predictor",
    "Retraining",
    "Run",
    "SearchSpace",
    "Subnet",
    "Supernet",
    "Winner",
    "__version__",
    "errors",
    "forecast",
    "load",
    "load_backbone",
    "load_reference",
    "merge",
    "open_run",
    "retrain",
    "search",
]

_PLACES = {
    "Artifact": "noah.api.results",
    "Evaluation": "noah.api.results",
    "Prediction": "noah.api.predictor",
    "Predictor": "noah.api.predictor",
    "Retraining": "noah.api.results",
    "Run": "noah.api.run",
    "SearchSpace": "noah.space.search_space",
    "Subnet": "noah.space.subnet",
    "Supernet": "noah.model.supernet",
    "Winner": "noah.api.results",
    "forecast": "noah.api.start",
    "load": "noah.model.saved_modules",
    "load_backbone": "noah.backbone.load",
    "load_reference": "noah.model.published_weights",
    "merge": "noah.model.merge",
    "open_run": "noah.api.start",
    "retrain": "noah.api.start",
    "search": "noah.api.start",
}
"""The module that defines each public name."""


def __getattr__(name: str) -> Any:
    """Load a public name on its first use (PEP 562)."""
    if name == "errors":
        return import_module("noah.errors")
    if name not in _PLACES:
        raise AttributeError(f"module 'noah' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)


def __dir__() -> list[str]:
    """The public names, for completion in a shell."""
    return sorted(__all__)
