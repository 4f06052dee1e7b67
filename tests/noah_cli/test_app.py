"""The command itself: help, version, exit codes, errors in one or two lines, and no torch where none is needed."""

from __future__ import annotations

import errno
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from noah.errors import DataError, SettingsError, UsageError
from noah.version import __version__
from noah_cli import app as app_module
from noah_cli.app import app, main
from tests.commands import PROJECT, noah, run_python, start_noah

COMMANDS = sorted(str(command.name) for command in app.registered_commands)


def failing_recipes(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the command `recipes` fail."""

    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr("noah.settings.layers.recipe_names", fail)


def test_the_commands_of_the_road_are_there() -> None:
    assert {"search", "retrain", "eval", "export", "predict", "recipes", "doctor"} <= set(COMMANDS)


@pytest.mark.parametrize("arguments", [["--help"], *([command, "--help"] for command in COMMANDS)])
def test_help_fits_into_80_columns(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    outcome = noah(*arguments)
    assert (outcome.code, outcome.err) == (0, "")
    assert "Usage: noah" in outcome.out
    assert "--help" in outcome.out
    assert max(map(len, outcome.out.splitlines())) <= 80


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_tells_what_it_does_in_a_sentence(command: str) -> None:
    sentence = noah(command, "--help").out.splitlines()[3].strip()
    assert sentence[0].isupper()


def test_no_arguments_show_the_help() -> None:
    outcome = noah()
    assert outcome.code == 2
    assert "Usage: noah [OPTIONS] COMMAND" in outcome.out + outcome.err


def test_version() -> None:
    assert noah("--version").out == f"noah {__version__}\n"


def test_python_m_noah_cli_stands_for_noah(tmp_path: Path) -> None:
    with start_noah("--version", folder=tmp_path) as process:
        assert process.communicate() == (f"noah {__version__}\n", "")
    assert process.returncode == 0


@pytest.mark.parametrize(
    "arguments", [["serch"], ["search", "--datset", "digits"], ["search", "--seed", "-1"], ["predict"], ["export"]]
)
def test_wrong_usage_is_exit_code_2_without_a_traceback(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # there may be runs where the tests are started
    outcome = noah(*arguments)
    assert outcome.code == 2
    assert "Error" in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("error", "code", "lines"),
    [
        (DataError("It is broken [red].", "Mend [it]."), 1, ["Error: It is broken [red].", "Mend [it]."]),
        (UsageError("No hint."), 2, ["Error: No hint."]),
        (SettingsError(["a: wrong", "b: wrong"], "Hint."), 2, ["Error: a: wrong", "b: wrong", "Hint."]),
        (
            PermissionError(errno.EACCES, "Permission denied", "runs/latest"),
            1,
            [
                "Error: runs/latest: permission denied.",
                "Check the path, its permissions and the free space; --debug tells more.",
            ],
        ),
        (
            OSError(errno.EIO, "Input/output error on Disk A", "My Runs/A"),
            1,
            [
                "Error: My Runs/A: input/output error on Disk A.",
                "Check the path, its permissions and the free space; --debug tells more.",
            ],
        ),
        (
            OSError("My Photos/A.PNG: gone"),
            1,
            [
                "Error: My Photos/A.PNG: gone.",
                "Check the path, its permissions and the free space; --debug tells more.",
            ],
        ),
        (
            OSError("odd"),
            1,
            ["Error: odd.", "Check the path, its permissions and the free space; --debug tells more."],
        ),
    ],
)
def test_errors_become_lines_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, lines: list[str]
) -> None:
    failing_recipes(monkeypatch, error)
    outcome = noah("recipes")
    assert (outcome.code, outcome.out) == (code, "")
    assert outcome.error_lines == lines


@pytest.mark.parametrize("error", [DataError("broken"), PermissionError(errno.EACCES, "denied", "x")])
@pytest.mark.parametrize("arguments", [["--debug", "recipes"], ["recipes", "--debug"]])
def test_debug_raises(monkeypatch: pytest.MonkeyPatch, error: Exception, arguments: list[str]) -> None:
    failing_recipes(monkeypatch, error)
    with pytest.raises(type(error)) as raised:
        main(arguments)
    assert raised.value is error


def test_a_full_gpu_is_told_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    told = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 15.77 GiB."
    failing_recipes(monkeypatch, torch.OutOfMemoryError(told))
    outcome = noah("recipes")
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.error_lines == [
        "Error: The memory of the GPU is full: Tried to allocate 2.00 GiB.",
        "Start a new run that takes each batch in parts: --set supernet.accumulation=4 --set retrain.accumulation=4",
    ]
    with pytest.raises(torch.OutOfMemoryError):
        main(["--debug", "recipes"])


def test_an_error_in_noah_itself_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    failing_recipes(monkeypatch, ZeroDivisionError("a mistake of the project"))
    with pytest.raises(ZeroDivisionError):
        main(["recipes"])


def test_ctrl_c_anywhere_is_exit_code_130(monkeypatch: pytest.MonkeyPatch) -> None:
    failing_recipes(monkeypatch, KeyboardInterrupt())
    assert main(["recipes"]) == 130


def test_main_takes_the_arguments_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["noah", "recipes", "nonsense"])
    assert app_module.main() == 2


@pytest.mark.parametrize("arguments", [[], ["--help"], ["search", "--help"], ["recipes"], ["recipes", "demo"]])
def test_nothing_of_this_imports_torch(arguments: list[str]) -> None:
    code = (
        "import sys\n"
        "from noah_cli.app import main\n"
        "assert len(sys.argv) == 1 or main(sys.argv[1:]) == 0\n"
        "print(sorted({'torch', 'timm', 'onnx', 'onnxruntime', 'numpy', 'pandas'} & set(sys.modules)))"
    )
    outcome = run_python(code, *arguments, folder=PROJECT)
    assert outcome.code == 0, outcome.err
    assert outcome.out.splitlines()[-1] == "[]"
