"""How fast merged subnets are in onnxruntime compared with their plain backbone, in float32 and in 8 bits.

    python benchmarks/artifacts.py [--seconds 20] [--batch 32]

Both are exported in the same way and run in turns. The weights are random, since time depends only on shapes. A
ViT-S/14 at 98 px and a ViT-B/16 at 224 px are each measured with a subnet of the paper's size (prompts in the first
blocks), one with 100 prompts per block, and one with every kind of module that folds, beside the backbone merged
without modules; the ViT-S/14 also in 8 bits against float32. Prints one line of JSON each: the ratio of throughputs, a
95 % interval of its median by bootstrap, its quartiles, the number of rounds and the ratio of file sizes.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from export.checks.speed import speedup, time_in_turns
from export.convert.onnx_products import choose_products
from export.convert.quantize import write_int8, write_int8_dynamic
from export.convert.to_onnx import write_onnx
from export.runtime.onnx_session import open_session
from noah.backbone.supported import untrained_backbone
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.search_space import PRESETS
from noah.space.subnet import Subnet

BACKBONES = (("vit_small_patch14_dinov2", 98), ("vit_base_patch16_224", 224))
CLASSES = 100
SUBNETS = {
    "paper": Subnet(prompt=[5] * 6 + [0] * 6, lora=[5] * 9 + [0] * 3, adapter=[5] * 9 + [0] * 3),
    "100 prompts": Subnet.uniform(12, prompt=100),
}
FOLDS = Subnet.uniform(12, **{name: widths[-1] for name, widths in PRESETS["mergeable"].items()})


def measure(first: Path, second: Path, images: np.ndarray, seconds: float) -> dict[str, Any]:
    """Measure how many times as fast the first file is as the second."""
    runs = [partial(open_session(file, provider="cpu").run, images) for file in (first, second)]
    durations, reference = time_in_turns(runs, seconds, lambda _: None)
    ratio = speedup(durations, reference)
    of_rounds = np.array(reference) / np.array(durations)
    drawn = np.random.default_rng(0).choice(of_rounds, (10_000, len(of_rounds)))
    low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
    return {
        "ratio": round(ratio.median, 3),
        "interval": [round(float(low), 3), round(float(high), 3)],
        "quartiles": [round(ratio.low, 3), round(ratio.high, 3)],
        "rounds": len(durations),
        "size": round(first.stat().st_size / second.stat().st_size, 3),
    }


def main() -> None:
    """Write the files, and time them in pairs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=32)
    arguments = parser.parse_args()
    for architecture, size in BACKBONES:
        images = np.random.default_rng(0).normal(size=(arguments.batch, 3, size, size)).astype(np.float32)
        with tempfile.TemporaryDirectory(prefix="noah-") as name:
            folder = Path(name)
            backbone = untrained_backbone(architecture, (size, size), CLASSES)
            plain, merged = folder / "plain.onnx", folder / "merged.onnx"
            write_onnx(backbone, plain, height=size, width=size, raw_pixels=False)
            alike, folded = folder / "alike.onnx", folder / "folded.onnx"
            for file, subnet in ((alike, Subnet.uniform(12)), (folded, FOLDS)):
                network = merge(Supernet(backbone, subnet).eval(), subnet)
                write_onnx(network, file, height=size, width=size, raw_pixels=False)
            figures = measure(folded, alike, images, arguments.seconds)
            print(json.dumps({"backbone": architecture, "subnet": "mergeable", "beside": "merged backbone", **figures}))
            for title, subnet in SUBNETS.items():
                network = merge(Supernet(backbone, subnet).eval(), subnet)
                write_onnx(network, merged, height=size, width=size, raw_pixels=False)
                figures = measure(merged, plain, images, arguments.seconds)
                print(json.dumps({"backbone": architecture, "subnet": title, "beside": "backbone", **figures}))
                if title != "paper":
                    continue
                graph = onnx.load(str(merged), load_external_data=False)
                for precision in ("int8", "int8-dynamic"):
                    file = folder / f"{precision}.onnx"
                    products = choose_products(graph, gemm=precision == "int8", exclude_last_block=False)
                    if precision == "int8":
                        batches = [{"images": images[:8]}]
                        write_int8(merged, file, products, batches, calibration="minmax", symmetric=False)
                    else:
                        write_int8_dynamic(merged, file, products)
                    figures = measure(file, merged, images, arguments.seconds)
                    print(json.dumps({"backbone": architecture, "file": precision, "beside": "float32", **figures}))


if __name__ == "__main__":
    main()
