"""One command in two processes, started by a real launcher: the same result as alone, written and told once."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.commands import Outcome, noah, process_environment, write_settings
from tests.conftest import TinySettings
from tests.noah.trackers.events import read_events, series

pytestmark = pytest.mark.slow

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
ACCELERATE = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")
WITHOUT_DROPOUT = {
    "supernet.dropout": 0.0,
    "supernet.drop_path": 0.0,
    "supernet.epochs": 4,
    "supernet.batch_size": 7,  # 36 images: five batches of 7 and one of 1, which leaves a process without any
    "supernet.sampling": "sandwich",
    "retrain.dropout": 0.0,
    "retrain.drop_path": 0.0,
    "retrain.epochs": 4,
    "retrain.batch_size": 7,
    "data.class_weights": "balanced",
}


def launch(folder: Path, *arguments: object, launcher: tuple[str, ...] = TORCHRUN) -> Outcome:
    """Run noah under a launcher; without the -- torchrun takes --run for an abbreviation of its own --run-path."""
    return run_launcher(folder, *launcher, "-m", "--", "noah_cli", *map(str, arguments))


def run_launcher(folder: Path, *command: str) -> Outcome:
    done = subprocess.run(
        command,
        cwd=folder,
        env=process_environment() | {"CUDA_VISIBLE_DEVICES": ""},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def alone(folder: Path, *arguments: object) -> Outcome:
    with contextlib.chdir(folder):
        return noah(*arguments)


def read(folder: Path, name: str, *parts: str) -> Any:
    return json.loads(folder.joinpath("runs", "shapes", name, *parts).read_text())


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, tiny_settings: TinySettings) -> tuple[Path, dict[str, Outcome]]:
    """A folder with the run `alone`, made by one process, and the run `both`, made by two."""
    folder = tmp_path_factory.mktemp("processes")
    write_settings(folder, tiny_settings(WITHOUT_DROPOUT))
    return folder, {
        "search alone": alone(folder, "search", "--run", "alone"),
        "retrain alone": alone(folder, "retrain", "--run", "alone"),
        "search": launch(folder, "search", "--run", "both"),
        "retrain": launch(folder, "retrain", "--run", "both"),
    }


def test_the_losses_and_the_winner_are_those_of_one_process(together: tuple[Path, dict[str, Outcome]]) -> None:
    folder, outcomes = together
    assert {name: outcome.code for name, outcome in outcomes.items()} == dict.fromkeys(outcomes, 0), outcomes
    for parts in (("supernet", "losses.json"), ("retrain", "model.json")):
        expected, found = (read(folder, name, *parts)["losses"] for name in ("alone", "both"))
        assert len(expected) == 4 and min(expected) < expected[0]  # an epoch has few steps
        assert found == pytest.approx(expected, rel=1e-5)
    expected, found = (read(folder, name, "search", "best.json") for name in ("alone", "both"))
    assert {**found, "cross_entropy": None, "certainty": None} == {**expected, "cross_entropy": None, "certainty": None}
    assert found["cross_entropy"] == pytest.approx(expected["cross_entropy"], rel=1e-3)


def test_the_run_is_written_and_told_once(together: tuple[Path, dict[str, Outcome]]) -> None:
    folder, outcomes = together
    assert sorted(path.name for path in (folder / "runs" / "shapes").iterdir()) == ["alone", "both"]
    names: dict[str, list[str]] = {}
    events: dict[str, list[tuple[str, str]]] = {}
    for name in ("alone", "both"):
        run = folder / "runs" / "shapes" / name
        names[name] = sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.name != "lock")
        log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
        events[name] = [(record["stage"], record["event"]) for record in log]
    assert names["both"] == names["alone"]
    assert events["both"] == events["alone"]
    for command in ("search", "retrain"):
        assert outcomes[command].out.count("\nnext ") == 1
        assert outcomes[command].out.count("run       ") == 1
        assert "processes 2 (as the launcher started them; batches are shared)" in outcomes[command].out
    assert "processes" not in outcomes["search alone"].out


def test_a_forecast_is_of_both_processes(tmp_path: Path, tiny_settings: TinySettings) -> None:
    write_settings(tmp_path, tiny_settings())
    outcome = launch(tmp_path, "search", "--dry-run")
    assert outcome.code == 0, outcome
    words = " ".join(outcome.out.split())
    assert words.count("forecast from a few steps timed on cpu in fp32 in 2 processes at once with 1 thread each") == 1
    assert words.count("search 8 subnets, 2 at a time, ") == 1
    assert list(tmp_path.glob("runs/**/run.yaml")) == []


def test_both_processes_are_workers_of_the_search(together: tuple[Path, dict[str, Outcome]]) -> None:
    folder, _ = together
    journal = folder / "runs" / "shapes" / "both" / "search" / "journal.log"
    workers = {key for line in journal.read_text().splitlines() for key in json.loads(line).get("user_attr", {})}
    assert len({key for key in workers if key.startswith("worker.")}) == 2


def test_accelerate_s_launcher_serves_as_well(tmp_path: Path, tiny_settings: TinySettings) -> None:
    write_settings(tmp_path, tiny_settings({"supernet.epochs": 1}))
    outcome = launch(tmp_path, "search", "--run", "first", "--track", "tensorboard", launcher=ACCELERATE)
    assert outcome.code == 0, outcome.err
    assert "processes 2" in outcome.out
    assert outcome.out.count("tracker   tensorboard") == 1
    events = read_events(tmp_path / "runs" / "shapes" / "first")
    assert list(series(events, "supernet/loss")) == [1]
    assert len(series(events, "search/accuracy")) > 2
    assert read(tmp_path, "first", "search", "best.json")["evaluated"] == 8


def test_an_error_is_told_once_and_ends_all(tmp_path: Path, tiny_settings: TinySettings) -> None:
    write_settings(tmp_path, tiny_settings())
    outcome = launch(tmp_path, "search", "--data", "nowhere")
    assert outcome.code != 0
    assert outcome.err.count("Error") - outcome.err.count("ChildFailedError") >= 1
    assert outcome.err.count("There is no folder nowhere") <= 1 and "nowhere" in outcome.err
    wild = launch(tmp_path, "search", "--run", "wild", "--set", "supernet.learning_rate=1e30")
    assert wild.code != 0
    assert wild.err.count("The training loss is") == 1
    refused = launch(tmp_path, "eval")
    assert refused.code != 0
    assert refused.err.count("noah eval does not share its work between processes.") == 1


def test_damaged_images_are_told_once_and_left_out_by_both(
    tmp_path: Path, tiny_settings: TinySettings, photo_folder: Path
) -> None:
    folder = Path(shutil.copytree(photo_folder, tmp_path / "photos"))
    (folder / "train" / "circle" / "01.png").write_bytes(b"no image")
    write_settings(tmp_path, tiny_settings({"data.folder": "photos"}))
    refused = launch(tmp_path, "search")
    assert refused.code != 0 and refused.err.count("1 of 54 images cannot be read, which is 1.85 %") == 1
    outcome = launch(tmp_path, "search", "--run", "first", "--damaged", "skip")
    assert outcome.code == 0, outcome.err
    assert outcome.out.count("1 of 54 images cannot be read and are left out") == 1
    run = tmp_path / "runs" / "photos" / "first"
    assert "01.png" in (run / "damaged.csv").read_text() and (run / "search" / "best.json").is_file()


def test_a_process_that_dies_ends_the_others_with_a_word(tmp_path: Path, tiny_settings: TinySettings) -> None:
    """The second one is gone in the middle of the training."""
    write_settings(tmp_path, tiny_settings({"supernet.epochs": 50}))
    code = (
        "import os, sys\n"
        "import noah.training.step as step\n"
        "take, steps = step.Step.add_gradients, []\n"
        "def dying(*arguments):\n"
        "    steps.append(1)\n"
        "    if os.environ['RANK'] == '1' and len(steps) == 12:\n"
        "        os._exit(9)\n"
        "    return take(*arguments)\n"
        "step.Step.add_gradients = dying\n"
        "from noah_cli.app import main\n"
        "sys.exit(main())\n"
    )
    (tmp_path / "dying.py").write_text(code)
    done = run_launcher(tmp_path, *TORCHRUN, "--", "dying.py", "search", "--run", "first")
    assert done.code != 0
    assert "exitcode  : 9" in done.err or "Another process of this command has stopped" in done.err
    again = launch(tmp_path, "search", "--resume", "--run", "first", "--time-limit", "20s")
    assert again.code == 0, again.err
    assert len(read(tmp_path, "first", "supernet", "losses.json")["losses"]) > 2
