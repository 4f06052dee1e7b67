"""What can be tried of the GPU's benchmark without one: its refusal, its imports, and all parts on a tiny backbone."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.recipe_time import StageClock, time_recipe, vtab_settings
from benchmarks.step_ways import Setting
from noah.hardware.device import Hardware
from noah.settings.settings import Settings
from tests.commands import PROJECT, process_environment
from tests.noah.tiny_run import Recorder

NOT_CARRIED = ("onnx", "onnxscript", "onnxruntime", "tensorrt_rtx", "sklearn", "matplotlib", "typer", "pyarrow")
"""What noah imports elsewhere, and the GPU kit does not bring along."""


def test_without_a_gpu_it_says_so_and_needs_only_what_the_kit_brings() -> None:
    code = (
        "import sys\n"
        f"sys.modules |= dict.fromkeys({NOT_CARRIED})  # importing them fails\n"
        "import benchmarks.gpu_kit, tests.gpu.test_memory, tests.gpu.test_resume, tests.gpu.test_against_cpu\n"
        "import tests.gpu.test_onnxruntime\n"
        "import benchmarks.gpu as gpu\n"
        "sys.argv = ['gpu']\n"
        "gpu.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=PROJECT,
        env=process_environment() | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "This benchmark needs an NVIDIA GPU, but torch finds none here. On a CPU, run: python -m benchmarks.steps"
    )


CPU = torch.device("cpu")
TINY = Setting("tiny", "paper", CPU, 64, "fp32")


def short_recipe() -> Settings:
    return vtab_settings(
        supernet={"epochs": 2, "warmup_epochs": 0},
        search={"generations": 1, "population": 4, "parents": 2, "mutations": 2, "crossovers": 2},
        retrain={"epochs": 2, "warmup_epochs": 0},
    )


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_the_recipe_goes_through_all_stages_and_on_where_it_was(tmp_path: Path) -> None:
    """One that is left again and again, the sooner the later it began, gives the same networks."""
    settings, hardware, listener = short_recipe(), Hardware(CPU, "fp32", 1, ()), Recorder()
    straight = time_recipe(TINY, hardware, settings, 64, listener, tmp_path / "straight")
    assert straight is not None
    assert straight.candidates == 8
    assert 0 < straight.images_shown <= 8 * 200
    assert min(straight.supernet, straight.search, straight.retrain) > 0
    assert straight.total == straight.supernet + straight.search + straight.retrain
    assert listener.bars["retraining the winner"][-1] == 2
    for calls in (15, 30, 35, 40, 45, 1000):
        asked = itertools.count()
        found = time_recipe(
            TINY,
            hardware,
            settings,
            64,
            listener,
            tmp_path / "left",
            lambda asked=asked, most=calls: next(asked) > most,
        )
        if found:
            break
        seconds = json.loads((tmp_path / "left" / "seconds.json").read_text())["seconds"]
    assert found is not None and calls > 15
    assert (found.candidates, found.images_shown) == (straight.candidates, straight.images_shown)
    for stage in ("supernet", "retrain"):
        one, other = (tmp_path / name / f"{stage}.safetensors" for name in ("straight", "left"))
        assert one.read_bytes() == other.read_bytes()
    assert found.supernet == seconds["supernet"]  # the last call did not train it


def test_a_stage_s_seconds_are_those_of_what_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([100.0, 103.0, 200.0, 204.0, 300.0, 301.0])
    monkeypatch.setattr("benchmarks.recipe_time.time.perf_counter", lambda: next(now))
    path, hardware = tmp_path / "seconds.json", Hardware(CPU, "fp32", 1, ())
    clock = StageClock(path, hardware)
    clock.start("supernet")
    clock.note(0)  # nothing is done
    clock.note(1)
    again = StageClock(path, hardware)
    again.start("supernet")
    again.note(1)  # known
    again.note(2)
    again.start("search")
    again.note(5)
    assert StageClock(path, hardware).seconds == {"supernet": 3.0 + 4.0, "search": 1.0}


@pytest.mark.slow
def test_the_parts_that_compile_nothing_run_on_a_tiny_backbone(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.gpu", "--device=cpu", "--tiny", f"--out={tmp_path}"]

    def run(*options: str) -> tuple[int, str]:
        done = subprocess.run(
            [*command, *options], cwd=PROJECT, env=process_environment(), capture_output=True, text=True, timeout=240
        )
        return done.returncode, done.stdout + done.stderr

    code, printed = run("--minutes=0")
    assert code == 3, printed
    assert "Time is up; the same command goes on with the steps" in printed
    code, printed = run()
    assert code == 0, printed
    assert "together" in printed and "of a large product" in printed
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["candidates"] == 8 and recipe["total"] > 0
    result = json.loads((tmp_path / "tiny-paper-training.json").read_text())
    assert len(result["operations"]) == result["rounds"] == 2 and min(result["operations"]) > 0
    assert json.loads((tmp_path / "device.json").read_text())["measured_tflops"] > 0
    contents = {path: path.read_bytes() for path in tmp_path.glob("*-*.json")}
    assert run()[0] == 0
    assert {path: path.read_bytes() for path in tmp_path.glob("*-*.json")} == contents


def test_the_settings_are_the_paper_s() -> None:
    settings = vtab_settings()
    assert (settings.supernet.epochs, settings.retrain.epochs, settings.supernet.batch_size) == (500, 100, 64)
    assert (1 + settings.search.generations) * settings.search.population == 800
