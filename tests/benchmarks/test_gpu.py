"""What can be tried of the GPU's benchmark without one: its refusal, its imports, and the recipe on a tiny backbone."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from benchmarks.recipe_time import time_recipe, vtab_settings
from benchmarks.step_ways import Setting
from noah.hardware.device import Hardware
from tests.commands import PROJECT, process_environment
from tests.noah.tiny_run import Recorder


def test_without_a_gpu_it_says_so_and_onnxruntime_is_not_needed() -> None:
    code = (
        "import sys\n"
        "sys.modules['onnxruntime'] = sys.modules['onnx'] = None  # importing them fails\n"
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


@pytest.mark.usefixtures("one_thread")
def test_the_recipe_goes_through_all_stages() -> None:
    settings = vtab_settings(
        supernet={"epochs": 1, "warmup_epochs": 0},
        search={"generations": 1, "population": 4, "parents": 2, "mutations": 2, "crossovers": 2},
        retrain={"epochs": 2, "warmup_epochs": 0},
    )
    cpu = torch.device("cpu")
    listener = Recorder()
    found = time_recipe(Setting("tiny", "paper", cpu, 64, "fp32"), Hardware(cpu, "fp32", 1, ()), settings, 64, listener)
    assert found.candidates == 8
    assert 0 < found.images_shown <= 8 * 200
    assert min(found.supernet, found.search, found.retrain) > 0
    assert found.total == found.supernet + found.search + found.retrain
    assert listener.bars["retraining the winner"][-1] == 2


def test_the_settings_are_the_paper_s() -> None:
    settings = vtab_settings()
    assert (settings.supernet.epochs, settings.retrain.epochs, settings.supernet.batch_size) == (500, 100, 64)
    assert (1 + settings.search.generations) * settings.search.population == 800
