"""The models in an artifact that noah can run, and the names under which their results are kept."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.artifact.manifest import Manifest
from export.formats.format import Format
from export.formats.registry import format_of
from noah.runs.artifact_results import artifact_result

if TYPE_CHECKING:  # it imports torch, which prediction does not need
    from noah.runs.folder import Run


@dataclass(frozen=True, slots=True)
class Runnable:
    """A model in an artifact that noah can run.

    Attributes:
        path: The argument for `load_predictor`: the folder for the usual model, else the file.
        file: Name of the file.
        name: Unique among the models of a run.
        why_not_here: Why it does not run on this machine; empty if it does.
    """

    path: Path
    file: str
    name: str
    why_not_here: str

    @property
    def eval_command(self) -> str:
        """The command that measures it on the test split."""
        return f"noah eval {shlex.quote(str(self.path))}"

    def result(self, run: Run) -> tuple[str, str]:
        """The file in which a run keeps its test result, relative to eval/."""
        return artifact_result(run, f"{self.name}.json")


def model_name(folder: str, file: str, format_: Format) -> str:
    """Name a model of a format that noah runs: the folder, followed by the file if that is not the usual one."""
    return folder if file == format_.models[0].name else f"{folder}.{file}"


def runnables(folder: Path, manifest: Manifest) -> tuple[Runnable, ...]:
    """List the models that noah can run in an artifact's folder, the usual one first.

    Raises:
        ArtifactError: If this noah does not know its format.
    """
    format_ = format_of(manifest)
    return tuple(
        Runnable(
            folder / model.name if number else folder,
            model.name,
            model_name(folder.name, model.name, format_),
            model.why_not_here(manifest),
        )
        for number, model in enumerate(format_.models)
    )


def first_here(models: Sequence[Runnable]) -> Runnable | None:
    """Give the first model that runs on this machine; None if none does."""
    return next((model for model in models if not model.why_not_here), None)
