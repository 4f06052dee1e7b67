"""Where a run keeps the results of its artifacts: eval/artifact/<name>.json, and eval/artefact/ by earlier versions.

Only new results go to the first; a result is looked for in the second where the first does not hold it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # It brings torch, which a prediction does without.
    from noah.runs.folder import Run

ARTIFACT = "artifact"
_EARLIER = "artefact"
FOLDERS = (ARTIFACT, _EARLIER)
"""Below eval/, eval/predictions/ and seals/eval/; what is in the first counts."""


def artifact_result(run: Run, file_name: str) -> tuple[str, str]:
    """The result of an artifact as a path below eval/, wherever it is; where a new one goes if there is none."""
    parts = [(folder, file_name) for folder in FOLDERS]
    return next((place for place in parts if run.path("eval", *place).is_file()), parts[0])


def artifact_results(run: Run) -> list[tuple[str, str]]:
    """All results of artifacts as paths below eval/, sorted by their names."""
    names = {path.name for folder in FOLDERS for path in run.path("eval", folder).glob("*.json") if path.is_file()}
    return [artifact_result(run, name) for name in sorted(names)]
