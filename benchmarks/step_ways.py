"""The ways of computing a step that `benchmarks.steps` and `benchmarks.gpu` time side by side.

A way takes a subnet and returns the function to be timed: a whole training step, or the logits of a batch. Work that a
run does once for many batches, such as merging a candidate, is done beforehand and not timed.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.straightforward import Straightforward
from noah.backbone.supported import untrained_backbone
from noah.data.pixels.device_pixels import place
from noah.data.pixels.pixels import Pixels, load_pixels
from noah.data.pixels.preprocessing import Preprocessing
from noah.data.pixels.to_inputs import to_images
from noah.data.split import ArraySplit
from noah.hardware.bf16_weights import frozen_weights_held, with_rounded_weights
from noah.hardware.device import Hardware, Precision
from noah.model.compiled import CompiledForward
from noah.model.merge import merge
from noah.model.supernet import Supernet
from noah.space.search_space import PRESETS, SearchSpace, make_space
from noah.space.subnet import Subnet
from noah.training.loop import make_optimizer
from noah.training.step import Step

Work = Literal["training", "evaluation"]
Prepare = Callable[[Subnet], Callable[[], Tensor]]
CLASSES = 100
"""Outputs of the head, as many as CIFAR-100 has classes."""
ARCHITECTURES = {
    "vit-s14-98": ("vit_small_patch14_dinov2", 98),
    "vit-b16-224": ("vit_base_patch16_224", 224),
    "tiny": ("test_vit", 32),
}
"""timm's name and the images' side in pixels; the last one is for a quick check that everything runs."""
DROPOUT = 0.1
"""Rate of dropout in the modules and of drop-path in the last block, in training, as published."""
SETTINGS = {"learning_rate": 5e-4, "weight_decay": 1e-4}


@dataclass(frozen=True, slots=True)
class Setting:
    """What is measured: one backbone with one space, on one device.

    Attributes:
        model: A name in `ARCHITECTURES`.
        space: Name of a preset of the search space.
        device: The device to measure on.
        batch_size: Images per step.
        precision: The device's best precision.
    """

    model: str
    space: str
    device: torch.device
    batch_size: int
    precision: Precision

    def hardware(self, precision: Precision) -> Hardware:
        """Give the device with a precision."""
        return Hardware(self.device, precision, torch.get_num_threads(), ())

    def backbone(self) -> nn.Module:
        """Make the backbone with random weights, the same every time; times do not depend on them."""
        name, side = ARCHITECTURES[self.model]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            backbone = untrained_backbone(name, (side, side), CLASSES)
            for parameter_name, parameter in backbone.named_parameters():
                if parameter_name.endswith("gamma"):  # LayerScale starts so small that a mistake would not show
                    nn.init.uniform_(parameter, 0.5, 1.5)
        return backbone.to(self.device)

    def search_space(self, backbone: Any) -> SearchSpace:
        """Give the search space for a backbone."""
        return make_space(len(backbone.blocks), backbone.embed_dim, PRESETS[self.space])

    def batch(self) -> tuple[Tensor, Tensor]:
        """Make random normalized images and labels."""
        generator = torch.Generator().manual_seed(1)
        side = ARCHITECTURES[self.model][1]
        images = torch.randn(self.batch_size, 3, side, side, generator=generator)
        labels = torch.randint(CLASSES, (self.batch_size,), generator=generator)
        return images.to(self.device), labels.to(self.device)


def pair(setting: Setting, dropout: float) -> tuple[Straightforward, Supernet]:
    """Make both implementations on one backbone, with the same weights, none of which is zero."""
    backbone = setting.backbone()
    largest = setting.search_space(backbone).largest
    torch.manual_seed(2)
    supernet = Supernet(backbone, largest, num_classes=CLASSES, dropout=dropout, drop_path=dropout)
    with torch.no_grad():
        for parameter in supernet.parameters():
            if parameter.requires_grad and parameter.numel():
                nn.init.normal_(parameter, std=0.02)
    plain = Straightforward(backbone, largest, CLASSES, dropout, dropout).to(setting.device)
    plain.load_state_dict(supernet.trainable_state(), strict=False)
    return plain, supernet


def synthetic_pixels(setting: Setting, count: int) -> Pixels:
    """Make random images in the form of decoded ones, held where a run would hold them."""
    side = ARCHITECTURES[setting.model][1]
    rng = np.random.default_rng(count)
    images = rng.integers(256, size=(count, side, side, 3), dtype=np.uint8)
    split = ArraySplit(images, rng.integers(CLASSES, size=count), "synthetic")
    preprocessing = Preprocessing(side, side, "squash", 1.0, "bicubic", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    return place(load_pixels(split, preprocessing), setting.device)


@contextmanager
def all_ways(
    setting: Setting, work: Work, only: str | None = None, *, compiled: bool = False
) -> Iterator[dict[str, Prepare]]:
    """Yield the ways by name, the straightforward one first; they hold their weights until the `with` block ends.

    Args:
        setting: Backbone, space and device.
        work: A step of training, or the logits of a batch.
        only: The name of one way, if nothing should be made for the others.
        compiled: Whether compiled blocks are among the ways of training; compiling them takes minutes.
    """
    images, labels = setting.batch()
    training = work == "training"
    plain, supernet = pair(setting, DROPOUT if training else 0.0)
    precisions = dict.fromkeys(("fp32", setting.precision))
    names = ["straightforward fp32", *(f"{what} {each}" for what in ("ours", "backbone") for each in precisions)]
    if training:
        names.append(f"ours-from-pixels {setting.precision}")
        if compiled:
            names.append(f"ours-compiled {setting.precision}")
    ways: dict[str, Prepare] = {}
    with ExitStack() as stack:
        for name in names if only is None else [only]:
            what, precision = name.split()
            hardware = setting.hardware("bf16" if precision == "bf16" else "fp32")
            match what:
                case "straightforward" if training:
                    ways[name] = _straightforward_step(plain.train(), images, labels)
                case "straightforward":
                    ways[name] = _straightforward_logits(plain.eval(), images)
                case "ours" | "ours-from-pixels" | "ours-compiled" if training:
                    own = supernet if only else copy.deepcopy(supernet)
                    stack.enter_context(frozen_weights_held(own, hardware))
                    pixels = synthetic_pixels(setting, 4 * setting.batch_size) if "pixels" in what else None
                    forward = CompiledForward(own) if "compiled" in what else None
                    ways[name] = _our_step(Step(own, hardware, compiled=forward), images, labels, pixels)
                case "ours":
                    ways[name] = _our_logits(supernet.eval(), images, hardware)
                case _:
                    ways[name] = _backbone_logits(supernet.backbone, images, hardware)
        del plain, supernet
        yield ways


def check_agreement(setting: Setting, subnet: Subnet) -> dict[str, float]:
    """Find the largest differences of logits and gradients between the straightforward way and ours, in float32.

    Returns:
        Each difference relative to the largest value of its kind.

    Raises:
        AssertionError: If a difference is larger than rounding explains.
    """
    plain, supernet = pair(setting, 0.0)
    images, labels = setting.batch()
    images, labels = images[:4], labels[:4]
    states = []
    for model in (plain.train(), supernet.train()):
        logits = model(images, subnet)
        F.cross_entropy(logits, labels).backward()
        gradients = {
            name: parameter.grad
            for name, parameter in model.named_parameters()
            if parameter.grad is not None and parameter.grad.any()
        }
        states.append((logits.detach(), gradients))
    (expected, their), (found, our) = states
    merged = merge(supernet.eval(), subnet)
    with torch.no_grad():
        differences = {"logits": _relative(found, expected), "merged logits": _relative(merged(images), expected)}
    assert their.keys() == our.keys(), their.keys() ^ our.keys()
    differences["gradients"] = max(_relative(our[name], gradient) for name, gradient in their.items())
    assert max(differences.values()) < 1e-3, differences
    return differences


def _relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).abs().max() / expected.abs().max())


def _straightforward_step(model: Straightforward, images: Tensor, labels: Tensor) -> Prepare:
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=SETTINGS["learning_rate"], weight_decay=SETTINGS["weight_decay"])

    def prepare(subnet: Subnet) -> Callable[[], Tensor]:
        def step() -> Tensor:
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(images, subnet), labels)
            loss.backward()
            optimizer.step()
            return loss.detach()

        return step

    return prepare


def _our_step(step: Step, images: Tensor, labels: Tensor, pixels: Pixels | None = None) -> Prepare:
    """Take a step as `noah.training.loop.train` does, from decoded pixels if they are given, else from the images."""
    supernet, optimizer = step.supernet, make_optimizer(step.supernet, **SETTINGS)
    rng = np.random.default_rng(3)

    def prepare(subnet: Subnet) -> Callable[[], Tensor]:
        def take() -> Tensor:
            supernet.train()
            optimizer.zero_grad(set_to_none=True)
            batch = images
            if pixels is not None:
                indices = rng.permutation(len(pixels))[: len(images)]
                batch = to_images(pixels.fetch(indices), pixels.preprocessing, step.hardware.device)
            loss = step.add_gradients(batch, labels, (subnet,))
            optimizer.step()
            return loss

        return take

    return prepare


def _straightforward_logits(model: Straightforward, images: Tensor) -> Prepare:
    def prepare(subnet: Subnet) -> Callable[[], Tensor]:
        return torch.no_grad()(lambda: model(images, subnet))

    return prepare


def _our_logits(supernet: Supernet, images: Tensor, hardware: Hardware) -> Prepare:
    """Compute logits as `noah.nas.candidate_evaluation` does."""

    def prepare(subnet: Subnet) -> Callable[[], Tensor]:
        return logits_of(with_rounded_weights(merge(supernet, subnet), hardware), images, hardware)

    return prepare


def _backbone_logits(backbone: nn.Module, images: Tensor, hardware: Hardware) -> Prepare:
    """Compute timm's own forward pass, with its matrices rounded once, like ours."""
    run = logits_of(with_rounded_weights(backbone, hardware), images, hardware)
    return lambda _: run


def logits_of(network: nn.Module, images: Tensor, hardware: Hardware) -> Callable[[], Tensor]:
    """Give what computes the logits of the images, in the hardware's precision."""

    @torch.inference_mode()
    def forward() -> Tensor:
        with hardware.autocast():
            logits: Tensor = network(images)
        return logits.float()

    return forward


def default_batch_size(model: str, device: torch.device) -> int:
    """Give the paper's batch size on a GPU; on a CPU, a small one, so that a step takes only seconds."""
    if device.type != "cpu":
        return 64
    return {"vit-s14-98": 32, "vit-b16-224": 8, "tiny": 8}[model]
