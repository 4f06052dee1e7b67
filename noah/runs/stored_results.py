"""Reads the results that stages left in the run folder; it needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noah.errors import RunError
from noah.runs.file_shapes import FrontCandidate, Result, check_shape, check_winner
from noah.runs.folder import Run


def read_winner(run: Run) -> dict[str, Any]:
    """Read search/best.json.

    Raises:
        RunError: If it is missing or damaged.
    """
    path = run.path("search", "best.json")
    hint = f"Remove it and type: noah search --resume --run {run.option}. It is made again from the candidates."
    try:
        value = run.read_json("search", "best.json")
    except RunError as error:
        raise RunError(error.problem, hint) from error
    return check_winner(value, path, hint)


def chosen_by(winner: Mapping[str, Any]) -> Mapping[str, Any]:
    """Find the score that a winner was chosen by: that of the final, or with the supernet's weights if there was none.

    Args:
        winner: The content of search/best.json.

    Returns:
        A mapping with correct, total, accuracy, standard_error and cross_entropy, of the validation images.
    """
    finalists = (winner.get("rerank") or {}).get("finalists", [])
    found: Mapping[str, Any] = next((each for each in finalists if each["index"] == winner["index"]), winner)
    return found


def read_front(run: Run) -> list[dict[str, Any]]:
    """Read search/pareto.json.

    Raises:
        RunError: If it is missing or damaged.
    """
    hint = f"Remove best.json beside it and type: noah search --resume --run {run.option}"
    value = run.read_json("search", "pareto.json")
    front: list[dict[str, Any]] = check_shape(value, list[FrontCandidate], run.path("search", "pareto.json"), hint)
    return front


def read_test(run: Run) -> dict[str, Any] | None:
    """Read the result of the test split; None if that has not been opened yet.

    Raises:
        RunError: If it is damaged.
    """
    return read_result(run, "eval", "test.json") if run.path("eval", "test.json").is_file() else None


def read_result(run: Run, *parts: str) -> dict[str, Any]:
    """Read the stored result of a test, whose path in the run folder has these parts, such as "eval", "test.json".

    Raises:
        RunError: If it is missing or damaged.
    """
    result: dict[str, Any] = check_shape(run.read_json(*parts), Result, run.path(*parts), "Measure again with --again.")
    return result
