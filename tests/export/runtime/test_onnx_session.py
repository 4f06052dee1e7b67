from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import onnx
import onnxruntime
import pytest
from packaging.version import Version

from export.runtime import onnx_session
from export.runtime.onnx_session import CPU, CUDA, TENSORRT, open_session
from noah.errors import ArtifactError, UsageError
from noah.hardware.cores import Cores
from tests.export.tiny_artifact import make_model

THREADS = "3 threads, as the test says"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("session") / "model.onnx"
    onnx.save(make_model(), path)
    return path


@pytest.fixture(autouse=True)
def three_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_session, "choose_threads", lambda: Cores(3, "as the test says"))


class FakeSession:
    """A session that runs on what the test says, whatever it is asked for."""

    runs_on: tuple[str, ...] = (CPU,)
    opened: tuple[list[Any], ...] = ()

    def __init__(self, model: Path, options: Any, *, providers: list[Any], enable_fallback: int) -> None:
        assert enable_fallback == 0
        type(self).opened += (providers,)

    def get_providers(self) -> list[str]:
        return list(self.runs_on)


@pytest.fixture
def gpu_machine(monkeypatch: pytest.MonkeyPatch) -> type[FakeSession]:
    """A machine with a driver and an onnxruntime for GPUs, whose sessions run where `runs_on` says."""

    class Session(FakeSession):
        pass

    monkeypatch.setattr(onnx_session, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [TENSORRT, CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: None, raising=False)
    monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
    return Session


def test_the_default_runs_and_its_reason_is_told(model: Path) -> None:
    opened = open_session(model)
    assert opened.session.get_providers()[0] == opened.provider
    assert opened.provider in (CUDA, CPU)
    assert opened.reason.endswith(THREADS) == (opened.provider == CPU)
    assert opened.session.get_session_options().intra_op_num_threads == 3


@pytest.mark.parametrize("name", ["cpu", "CPU", CPU, CPU.lower()])
def test_the_cpu_can_be_asked_for(model: Path, name: str) -> None:
    opened = open_session(model, provider=name, threads=1)
    assert (opened.provider, opened.reason) == (CPU, "asked for; 1 thread, as asked for")
    assert opened.session.get_providers() == [CPU]
    assert opened.session.get_session_options().intra_op_num_threads == 1


def test_cuda_is_taken_where_it_runs(gpu_machine: type[FakeSession], model: Path) -> None:
    gpu_machine.runs_on = (CUDA, CPU)
    assert open_session(model).provider == CUDA
    assert open_session(model, provider="cuda").reason == "asked for"
    exactly = (CUDA, {"use_tf32": "0"})  # float32 is to be float32
    assert gpu_machine.opened == ([(TENSORRT, {}), CPU], [exactly, CPU], [exactly, CPU])


def test_tensorrt_comes_before_cuda_and_cuda_before_the_cpu(
    gpu_machine: type[FakeSession], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")  # so that it is restored
    gpu_machine.runs_on = (TENSORRT, CUDA, CPU)
    opened = open_session(model)
    assert (opened.provider, opened.reason) == (TENSORRT, "TensorRT runs on this machine")
    gpu_machine.runs_on = (CUDA, CPU)
    opened = open_session(model)
    assert opened.provider == CUDA
    assert opened.reason == f"CUDA runs on this machine; {TENSORRT} does not run here: it did not start"
    tried = [providers[0] if isinstance(providers[0], str) else providers[0][0] for providers in gpu_machine.opened]
    assert tried == [TENSORRT, TENSORRT, CUDA]


def test_tensorrt_that_was_asked_for_is_not_replaced_by_cuda(
    gpu_machine: type[FakeSession], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    gpu_machine.runs_on = (CUDA, CPU)
    with pytest.raises(ArtifactError, match=f"{TENSORRT} does not run here"):
        open_session(model, provider="tensorrt")
    assert os.environ["NVIDIA_TF32_OVERRIDE"] == "0"
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")


def test_the_session_is_believed_and_not_the_list_of_what_was_compiled(
    gpu_machine: type[FakeSession], model: Path
) -> None:
    opened = open_session(model)
    assert (opened.provider, opened.reason) == (CPU, f"{CUDA} does not run here: it did not start; {THREADS}")
    with pytest.raises(ArtifactError, match=r"CUDA.* does not run here: it did not start\.\nInstalled here: .*cpu"):
        open_session(model, provider="cuda")


def test_a_missing_library_is_named_with_what_installs_it(
    gpu_machine: type[FakeSession], model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(onnxruntime, "preload_dlls", lambda: print("Failed to load libcurand.so.10: no such file"))
    assert (
        "libcurand.so.10 is missing; pip install 'onnxruntime-gpu[cuda,cudnn]' brings it" in open_session(model).reason
    )
    assert capsys.readouterr().out == ""


def test_a_machine_without_a_driver_is_not_tried(
    gpu_machine: type[FakeSession], model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_session, "has_nvidia_driver", lambda: False)
    assert open_session(model).reason == f"{CUDA} does not run here: this machine has no NVIDIA driver; {THREADS}"
    assert gpu_machine.opened == ([CPU],)
    with pytest.raises(ArtifactError, match="no NVIDIA driver"):
        open_session(model, provider="tensorrt")


def test_an_onnxruntime_without_cuda_says_so(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    assert open_session(model).reason == f"this onnxruntime is built without CUDA; {THREADS}"
    with pytest.raises(ArtifactError, match=r"built without CUDAExecutionProvider\.\nInstalled here: cpu;"):
        open_session(model, provider="cuda")


@pytest.mark.skipif(
    Version(onnxruntime.__version__) < Version("1.23"),
    reason="onnxruntime 1.22 ends the process if it is asked for a GPU where there is no driver",
)
def test_real_gpu_providers_that_do_not_start_are_quiet(
    model: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With the driver taken for granted, onnxruntime itself is asked, and complains where there is none."""
    monkeypatch.setattr(onnx_session, "has_nvidia_driver", lambda: True)
    for provider in (None, "cuda", "tensorrt"):
        try:
            opened = open_session(model, provider=provider)
            assert opened.session.get_providers()[0] == opened.provider
        except ArtifactError as error:
            assert provider is not None
            assert len(str(error).splitlines()) == 2
    assert capfd.readouterr() == ("", "")


def test_wrong_usage_is_told(model: Path) -> None:
    with pytest.raises(UsageError, match=r"no provider 'gpu'\.\nInstalled here: .*cpu"):
        open_session(model, provider="gpu")
    with pytest.raises(UsageError, match="threads is 0"):
        open_session(model, threads=0)


@pytest.mark.parametrize("content", [b"", b"no model"])
def test_a_file_that_is_no_model_is_told_in_two_lines(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"^Cannot open .*model\.onnx: [^\n]*\.\n.*noah export$") as caught:
        open_session(path)
    assert "ONNXRuntimeError" not in str(caught.value)
