"""What is read of a test: pairs of classes instead of a matrix, and what cannot be one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noah.errors import RunError
from noah.evaluation.score import describe
from noah.runs.folder import Run
from noah_cli.report.reading import Missing
from noah_cli.report.tested import Measured, gather_tested

CLASSES = ("ant", "bee", "cow")
AGAIN = "noah eval --again"


def gather(folder: Path, result: dict[str, Any]) -> Measured | Missing:
    run = Run(folder)
    run.write_json(result, "eval", "test.json")
    return gather_tested(run, CLASSES, ("noah eval",), AGAIN)


def result(labels: list[int], predicted: list[int]) -> dict[str, Any]:
    return describe(np.eye(3, dtype=np.float32)[predicted], np.array(labels), CLASSES)


def test_confusions_and_accuracies_of_classes(tmp_path: Path) -> None:
    found = gather(tmp_path, result([0, 0, 0, 0, 1, 1, 0], [0, 2, 2, 1, 1, 0, 0]))
    assert isinstance(found, Measured)
    assert found.confused_pairs == (("ant", "cow", 2), ("ant", "bee", 1), ("bee", "ant", 1))
    assert [(one.right.correct, one.right.total) if one.right else None for one in found.classes] == [
        (2, 5),
        (1, 2),
        None,
    ]


def test_a_test_without_mistakes_confuses_nothing(tmp_path: Path) -> None:
    found = gather(tmp_path, result([0, 1, 2], [0, 1, 2]))
    assert isinstance(found, Measured)
    assert found.confused_pairs == ()


def test_a_matrix_of_an_earlier_version_is_to_be_measured_again(tmp_path: Path) -> None:
    found = gather(tmp_path, {"correct": 1, "total": 1, "confusion": [[1, 0, 0], [0, 0, 0], [0, 0, 0]]})
    assert isinstance(found, Missing)
    assert found.commands == (AGAIN,)


@pytest.mark.parametrize("confusions", [[], [[0, 0]], [[0, 3, 1]], [[0, -1, 1]], [[[0, 1, 1]]], [0, 1, 1], "no", None])
def test_what_is_no_confusion_is_damage(tmp_path: Path, confusions: object) -> None:
    with pytest.raises(RunError, match="holds no result of a test"):
        gather(tmp_path, {**result([0, 1], [0, 1]), "confusions": confusions})
