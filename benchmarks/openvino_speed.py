"""How fast OpenVINO runs a merged subnet compared with onnxruntime, in float32, bf16 and 8 bits, on this CPU.

    python -m benchmarks.openvino_speed [--seconds 20] [--batch 32] [--threads 1]

All run in turns in this process. The weights are random, since time depends only on shapes. A ViT-S/14 at 98 px and a
ViT-B/16 at 224 px are measured with a subnet of the paper's size. Prints one line of JSON for each way of running it:
how many times as fast it is as onnxruntime in float32, and the 8-bit ways also as onnxruntime in 8 bits, with quartiles
of the rounds; the median milliseconds; what OpenVINO says that it computes in; and the processor. With more threads
than one, OpenVINO splits a batch over its streams, and "one request" is the same without them.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import onnx

from benchmarks.artifacts import BACKBONES, CLASSES, SUBNETS
from export.artifact.metadata import write_metadata
from export.checks.speed import speedup, time_in_turns
from export.convert.onnx_products import choose_products
from export.convert.quantize import write_int8
from export.convert.to_onnx import write_onnx
from export.convert.to_openvino import write_openvino
from export.formats.openvino import IR_FILE
from export.runtime.onnx_session import open_session
from export.runtime.openvino_model import OpenVinoModel, open_openvino, openvino_core
from noah.backbone.supported import untrained_backbone
from noah.model.merge import merge
from noah.model.supernet import Supernet

FLOAT, EIGHT_BITS = "onnxruntime fp32", "onnxruntime int8"


def write_graphs(folder: Path, architecture: str, size: int, images: np.ndarray) -> tuple[Path, Path]:
    """Write the merged network in float32 and in 8 bits."""
    subnet = SUBNETS["paper"]
    backbone = untrained_backbone(architecture, (size, size), CLASSES)
    merged, quantized = folder / "merged.onnx", folder / "int8.onnx"
    network = merge(Supernet(backbone, subnet).eval(), subnet)
    write_onnx(network, merged, height=size, width=size, raw_pixels=False)
    products = choose_products(onnx.load(str(merged), load_external_data=False), gemm=True, exclude_last_block=False)
    write_int8(merged, quantized, products, [{"images": images[:8]}], calibration="minmax", symmetric=False)
    for file in (merged, quantized):
        write_metadata(file, {})  # in place of what the tools write there
    return merged, quantized


def main() -> None:
    """Write the files of each backbone, and time all ways of running them in turns."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0, help="for each way of running it")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    threads = arguments.threads
    processor = openvino_core().get_property("CPU", "FULL_DEVICE_NAME")
    for architecture, size in BACKBONES:
        images = np.random.default_rng(0).normal(size=(arguments.batch, 3, size, size)).astype(np.float32)
        with tempfile.TemporaryDirectory(prefix="noah-") as name:
            folder = Path(name)
            merged, quantized = write_graphs(folder, architecture, size, images)
            runs: dict[str, Callable[[], object]] = {
                title: partial(open_session(file, provider="cpu", threads=threads).run, images)
                for title, file in ((FLOAT, merged), (EIGHT_BITS, quantized))
            }
            opened: dict[str, OpenVinoModel] = {}
            for precision, file in (("fp32", merged), ("bf16", merged), ("int8", quantized)):
                written = folder / precision
                written.mkdir()
                write_openvino(file, written / IR_FILE, precision)
                model = open_openvino(written / IR_FILE, precision, threads=threads)
                opened[f"openvino {precision}"] = model
                runs[f"openvino {precision}"] = partial(model.run, images)
                if threads > 1:
                    runs[f"openvino {precision}, one request"] = partial(model.run_at_once, images)
            durations = dict(
                zip(runs, time_in_turns([*runs.values()], arguments.seconds * len(runs), _quiet), strict=True)
            )
            for title, found in durations.items():
                line = {
                    "backbone": architecture,
                    "size": size,
                    "way": title,
                    "beside fp32": vars(speedup(found, durations[FLOAT])),
                    **({"beside int8": vars(speedup(found, durations[EIGHT_BITS]))} if "int8" in title else {}),
                    "ms": round(1000 * float(np.median(found)), 1),
                    "rounds": len(found),
                    **({"computed": opened[title].computed_types()} if title in opened else {}),
                    "threads": threads,
                    "processor": f"{processor}, {platform.machine()}",
                }
                print(json.dumps(line), flush=True)


def _quiet(share: float) -> None:
    """Show no progress."""


if __name__ == "__main__":
    main()
