"""How fast merged subnets of every family are in onnxruntime compared with their plain backbones, in float32.

    python benchmarks/families.py [--seconds 20] [--batch 4] [ARCHITECTURE ...]

Both are exported in the same way and run in turns, with random weights, since time depends only on shapes. The subnet
is of the paper's size: prompts in the first blocks. Prints one line of JSON for each backbone: which tokens its head
reads, the ratio of throughputs with a 95 % interval of its median by bootstrap, and the ratio of multiply-accumulates.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.artifacts import CLASSES, measure
from export.convert.to_onnx import write_onnx
from noah.backbone.families.registry import view_of
from noah.backbone.supported import untrained_backbone
from noah.cost.macs import backbone_macs, merged_macs
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.subnet import Subnet

BACKBONES = {
    "vit_small_patch16_dinov3": 224,
    "vit_small_patch16_lingbot": 224,
    "eva02_small_patch14_224": 224,
    "beit_base_patch16_224": 224,
    "vit_base_patch16_siglip_224": 224,
    "vit_small_patch16_rope_mixed_224": 224,
    "vit_relpos_small_patch16_224": 224,
    "deit_small_distilled_patch16_224": 224,
    "vit_small_r26_s32_224": 224,
}
PAPER = Subnet(prompt=[5] * 6 + [0] * 6, lora=[5] * 9 + [0] * 3, adapter=[5] * 9 + [0] * 3)


def main() -> None:
    """Write the files of each backbone, and time them in pairs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=list(BACKBONES), metavar="ARCHITECTURE")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--batch", type=int, default=4)
    arguments = parser.parse_args()
    for architecture in arguments.architectures:
        size = BACKBONES.get(architecture, 224)
        images = np.random.default_rng(0).normal(size=(arguments.batch, 3, size, size)).astype(np.float32)
        with tempfile.TemporaryDirectory(prefix="noah-") as name:
            plain, merged = Path(name) / "plain.onnx", Path(name) / "merged.onnx"
            backbone = untrained_backbone(architecture, (size, size), CLASSES)
            write_onnx(backbone, plain, height=size, width=size, raw_pixels=False)
            network = merge(Supernet(backbone, PAPER, num_classes=CLASSES).eval(), PAPER)
            write_onnx(network, merged, height=size, width=size, raw_pixels=False)
            figures = {
                "backbone": architecture,
                "reads": view_of(backbone).readers.value,
                **measure(merged, plain, images, arguments.seconds),
                "macs": round(merged_macs(backbone, PAPER, CLASSES) / backbone_macs(backbone, CLASSES), 3),
            }
            print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
