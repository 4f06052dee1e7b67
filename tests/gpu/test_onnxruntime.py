"""onnxruntime on the device, with input and output bound to it, against torch."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.step_ways import ARCHITECTURES, Setting, pair
from noah.model.merge import merge

pytestmark = pytest.mark.gpu


def test_bound_tensors_give_what_torch_gives(tmp_path: Path, device: torch.device) -> None:
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    from export.convert.to_onnx import write_onnx
    from export.runtime.onnx_session import CUDA, BoundRun, onnxruntime, open_session

    if device.type == "cuda" and CUDA not in onnxruntime.get_available_providers():
        pytest.skip(f"this onnxruntime has no CUDA, only {', '.join(onnxruntime.get_available_providers())}")
    tiny = Setting("tiny", "paper", torch.device("cpu"), 4, "fp32")
    supernet = pair(tiny, 0.0)[1].eval()
    network = merge(supernet, supernet.largest)
    side = ARCHITECTURES["tiny"][1]
    write_onnx(network, tmp_path / "model.onnx", height=side, width=side, raw_pixels=False)
    opened = open_session(tmp_path / "model.onnx", provider=device.type, threads=1)
    assert opened.session.get_providers()[0].lower().startswith(device.type)
    bound = BoundRun(opened.session, device.type)
    network.to(device)
    for count in (4, 4, 1, 7):
        images = np.random.default_rng(count).standard_normal((count, 3, side, side), dtype=np.float32)
        with torch.inference_mode():
            expected = network(torch.from_numpy(images).to(device)).cpu().numpy()
        most = 1e-3 * float(np.abs(expected).max())
        for found in (bound(images), opened.run(images)):
            assert found.shape == expected.shape and np.abs(found - expected).max() < most
