"""What noah runs of an artifact, and the name under which its result is kept."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from export.artifact.manifest import ENGINE_FILE, MODEL_FILE, Manifest
from export.runtime.engine import why_not_run
from export.runtime.gpu import why_no_gpu
from noah.runs.artifact_results import artifact_result

if TYPE_CHECKING:  # It brings torch, which a prediction does without.
    from noah.runs.folder import Run


@dataclass(frozen=True, slots=True)
class Runnable:
    """A model in an artifact that noah runs.

    Attributes:
        path: As `load_predictor` takes it: the folder for the usual model, else the file.
        file: Name of the file.
        name: Tells it from others of its run.
        why_not_here: Why it does not run on this machine; empty where it does.
    """

    path: Path
    file: str
    name: str
    why_not_here: str

    @property
    def eval_command(self) -> str:
        """What measures it."""
        return f"noah eval {shlex.quote(str(self.path))}"

    def result(self, run: Run) -> tuple[str, str]:
        """Where a run keeps its result, below eval/."""
        return artifact_result(run, f"{self.name}.json")


def runnable_files(manifest: Manifest) -> tuple[str, ...]:
    """The files that noah runs, the usual one first; none of formats that other programs run."""
    match manifest.format:
        case "trt":
            return ENGINE_FILE, MODEL_FILE
        case "onnx":
            return (MODEL_FILE,)
        case _:
            return ()


def model_name(folder: str, file: str, manifest: Manifest) -> str:
    """The folder's name, and the file's behind it where that is not the usual one; of an artifact that noah runs."""
    return folder if file == runnable_files(manifest)[0] else f"{folder}.{file}"


def runnables(folder: Path, manifest: Manifest) -> tuple[Runnable, ...]:
    """What noah runs of the artifact in a folder, the usual model first."""
    files = runnable_files(manifest)
    return tuple(
        Runnable(
            folder if file == files[0] else folder / file,
            file,
            model_name(folder.name, file, manifest),
            _why_not_here(file, manifest),
        )
        for file in files
    )


def first_here(models: Sequence[Runnable]) -> Runnable | None:
    """The first that runs on this machine; None where none does."""
    return next((model for model in models if not model.why_not_here), None)


def _why_not_here(file: str, manifest: Manifest) -> str:
    if file == ENGINE_FILE and manifest.engine is not None:
        return why_not_run(manifest.engine)
    return why_no_gpu() if manifest.precision == "bf16" else ""  # onnxruntime's CPU has no bf16 convolution
