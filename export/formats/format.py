"""What a format of artifacts is: a value that says what it is called and holds, and how it is written and opened.

Each format is such a value in a file of its own beside this one. Its functions import what they need when they are
called, so that reading the registry loads no library.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.runtime.profile import ONNX_PROFILE, Profile
from noah.errors import NoahError

if TYPE_CHECKING:  # they import torch, onnxruntime or pydantic
    from export.artifact.manifest import Manifest
    from export.artifact.records import Precision
    from export.runtime.tensorrt_package import Builder
    from export.runtime.tensors import OpenModel
    from export.write.request import Request
    from noah.prepare.context import Materials
    from noah.progress import Listener
    from noah.runs.folder import Run

MERGED = "merged into one plain network"
"""How the modules are in a format that is made from the merged network."""
GRAPH_OPTIONS = frozenset(
    (
        *("--precision", "--calibration", "--calibration-images", "--exclude-last-block", "--no-smooth", "--no-mixed"),
        *("--input", "--input-size", "--output", "--batch"),
    )
)
"""The options of `noah export` about a network that is written as a graph: its numbers, its input and its output."""


@dataclass(frozen=True, slots=True)
class Opening:
    """How a model is to be opened.

    Attributes:
        provider: What runs it, as --provider names it; None takes what runs here.
        threads: Threads on the CPU; None takes what `noah.hardware.cores` chooses.
        embeddings: Whether it is also to give the features before its head.
    """

    provider: str | None = None
    threads: int | None = None
    embeddings: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFile:
    """A file of an artifact that noah itself runs.

    Attributes:
        name: Its name in the artifact's folder.
        open: Opens it. Raises `ArtifactError` if it is damaged, `NotHereError` if it does not run on this machine, and
            `UsageError` if the format cannot do what is asked for.
        why_not_here: Says why this machine cannot run it, as the end of a sentence; empty if it can.
        weights: Name of the file beside it that may hold its weights; empty if there is never one.
        takes_provider: Whether `Opening.provider` may be given.
        runs_on: The kinds of processor that it runs on: cpu, gpu.
    """

    name: str
    open: Callable[[Path, Manifest, Opening], OpenModel]
    why_not_here: Callable[[Manifest], str]
    weights: str = ""
    takes_provider: bool = True
    runs_on: frozenset[str] = frozenset(("cpu", "gpu"))


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `noah doctor`: good, note (it works, with a limit) or bad (it has to be fixed)."""

    level: str
    text: str


def in_python(path: Path, before: str = "") -> str:
    """A path as a text of Python, with something in front."""
    return json.dumps(f"{before}{path.as_posix()}", ensure_ascii=False)


def _nothing_to_prepare(precision: Precision, target: str | None) -> None:
    return None


def _nothing_against_running(precision: Precision) -> str:
    return ""


def _no_findings() -> Iterator[Finding]:
    return iter(())


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """A kind of artifact. How far its outputs may be from the model's depends on the precision alone (`TOLERANCES`).

    Attributes:
        name: As --format takes it and manifests spell it; artifacts' folders begin with it.
        help: What it is, in a few words, for the help of --format.
        runtime: The library or program that runs it.
        extra: The extra of noah's package that brings what the format needs; empty if noah itself does.
        precisions: The precisions that it can be written in.
        default: The precision if none is asked for.
        why_default: Why, for printing; empty if nothing has to be said.
        options: The options of `noah export` that it takes, besides --format and those that every format takes.
        why_fewer_options: Why it takes no others, to end a sentence with; empty if nothing has to be said.
        why_no_images: Why --input image is refused, to end a sentence with; empty if it is taken.
        profile: Batch sizes of the parity check if --batch is not given.
        form: How the subnet's modules are in the artifact, for its card.
        usage: How to run an artifact, given its manifest and its folder, for its card; Markdown.
        next_step: What to type or call after writing it, if noah itself does not run it; given the folder.
        prepare: Checks before any work that this machine can write it in a precision, and chooses what builds it; given
            the precision and --target. Raises `UsageError` or `MissingPackageError`.
        write: Writes an artifact and proves it; gives its folder.
        models: The files in it that noah runs, the usual one first; none if only other programs run it.
        why_not_run: Says why this machine could not run an artifact in a precision, to end a sentence with; empty if it
            can, as far as is known before one is written.
        examine: What `noah doctor` says about it.
    """

    name: str
    help: str
    runtime: str
    form: str
    usage: Callable[[Manifest, Path], str]
    write: Callable[[Run, Materials, Listener, Request], Path]
    extra: str = ""
    precisions: tuple[Precision, ...] = ("fp32",)
    default: Precision = "fp32"
    why_default: str = ""
    options: frozenset[str] = frozenset()
    why_fewer_options: str = ""
    why_no_images: str = ""
    profile: Profile = ONNX_PROFILE
    next_step: Callable[[Path], str] | None = None
    prepare: Callable[[Precision, str | None], Builder | None] = _nothing_to_prepare
    models: tuple[ModelFile, ...] = ()
    why_not_run: Callable[[Precision], str] = _nothing_against_running
    examine: Callable[[], Iterator[Finding]] = _no_findings

    def why_not(self, precision: Precision | None = None) -> str:
        """Say why this machine cannot write it in a precision, or in its default; empty if it can."""
        try:
            self.prepare(precision or self.default, None)
        except NoahError as error:
            return error.problem
        return ""
