"""What the packages import is what pyproject.toml says that they need."""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.lowest import PYPROJECT, bounds

PROJECT = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
PACKAGES = ("noah", "noah_cli", "export")
NEVER_IMPORTED = {
    "onnxscript": "torch.onnx writes files with it",
    "tensorrt-rtx": "imported by a name that is chosen at run time",
    "tensorrt": "likewise",
    "tensorboard": "torch.utils.tensorboard imports it",
    "ipywidgets": "rich imports it in a notebook",
}
ONE_IS_INSTALLED = {"onnxruntime", "onnxruntime-gpu"}  # and imported by the same name
BROUGHT_ALONG = {"pydantic-core": "of exactly the version that pydantic asks for"}


def other_imports() -> Iterator[str]:
    """The first word of every import of another project's module, wherever in a file it stands."""
    for package in PACKAGES:
        for path in (PYPROJECT.parent / package).rglob("*.py"):
            yield from (name for name in imports_of(path) if name not in (*PACKAGES, *sys.stdlib_module_names))


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield str(node.module).partition(".")[0]


def declared(lines: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(line).name) for line in lines}


def test_every_import_is_declared_and_every_dependency_is_used() -> None:
    extras = PROJECT["optional-dependencies"]
    allowed = declared(PROJECT["dependencies"]).union(*(declared(extras[name]) for name in extras if name != "dev"))
    providers = packages_distributions()
    used = set()
    for name in set(other_imports()):
        distributions = {canonicalize_name(provider) for provider in providers.get(name, [name])}
        assert distributions & allowed or distributions <= BROUGHT_ALONG.keys(), f"{name} is imported, not declared"
        used |= distributions
    assert len(used & ONE_IS_INSTALLED) == 1
    assert allowed - used <= NEVER_IMPORTED.keys() | ONE_IS_INSTALLED


def test_every_dependency_has_one_lower_bound_and_what_is_installed_is_not_older() -> None:
    for bound in bounds():
        assert bound.installed is not None, bound.name
        assert bound.installed >= bound.oldest, bound
