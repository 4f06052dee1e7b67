"""What neither trains nor measures runs where torch cannot be imported."""

from __future__ import annotations

import pytest

from tests.commands import Outcome, run_python
from tests.finished import FLOAT, NAME, Finished

HIDDEN = ("torch", "torchvision", "timm", "accelerate")
PROGRAM = f"""
import sys
for name in {HIDDEN}:
    sys.modules[name] = None  # importing it fails
from noah_cli.app import main
sys.exit(main(sys.argv[1:]))
"""
HELP = f"""
import sys
for name in {HIDDEN}:
    sys.modules[name] = None
from typer.main import get_command
from noah_cli.app import app, main
commands = get_command(app).commands
told = [[], ["--version"], ["--help"], *([name, "--help"] for name in commands)]
print([line for line in told if main(line) not in ((0, 2) if not line else (0,))], len(commands))
heavy = ("onnx", "onnxruntime", "numpy", "scipy", "pandas", "matplotlib", "optuna")
print([name for name in heavy if name in sys.modules])
print(main(["datasets", "check", "--help"]))
"""


def run(finished: Finished, *arguments: object) -> Outcome:
    # In the folder of the run; the project is found by its path, as it is for every process of a test.
    return run_python(PROGRAM, *arguments, folder=finished.folder)


def test_the_help_of_every_command(finished: Finished) -> None:
    outcome = run_python(HELP, folder=finished.folder)
    assert outcome.code == 0, outcome.err
    assert {"[] 15", "[]"} < set(outcome.out.splitlines())
    assert outcome.out.splitlines()[-1] == "0"


def test_verify_quick(finished: Finished) -> None:
    outcome = run(finished, "verify", "--quick")
    assert outcome.code == 0, outcome.out + outcome.err
    for what in (
        "seal of retrain: SHA-256",
        "winner (search/best.json): number",
        "retrained (retrain/): the checkpoint is that of the training, 6 epochs",
        "result (eval/test.json):",
        f"artifact {FLOAT}: its files, weights, subnet and classes match the run",
    ):
        assert what in outcome.words


@pytest.mark.parametrize("arguments", [("runs",), ("recipes", "demo"), ("datasets",)])
def test_what_only_lists(project: Finished, arguments: tuple[str, ...]) -> None:
    outcome = run(project, *arguments)
    assert outcome.code == 0, outcome.err


def test_predict_loads_neither_torch_nor_onnx(finished: Finished) -> None:
    artifact = f"runs/{NAME}/export/{FLOAT}"
    hidden = PROGRAM.replace("for name in (", "for name in ('onnx', ")
    outcome = run_python(hidden, "predict", artifact, artifact, "--provider", "cpu", folder=finished.folder)
    assert "holds no images" in outcome.err, outcome.err
    assert outcome.code == 2
