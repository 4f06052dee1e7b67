"""The state of a training after a whole epoch, in one safetensors file.

The file holds the trainable weights, AdamW's moments and, as metadata, the losses of the finished epochs. It is
replaced atomically, so it always describes the end of an epoch. It does not need to store any random state, because
every epoch starts from its own seed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.optim import Optimizer

from noah.errors import RunError, SettingsError
from noah.files.atomic import atomic_file
from noah.model.supernet import Supernet
from noah.training.checkpoint_file import DAMAGE, parse_losses, unreadable

_AVERAGE = "average"
_MOMENTS = ("step", "exp_avg", "exp_avg_sq")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint file holds.

    Args:
        losses: The mean training loss of each finished epoch.
        weights: What `Supernet.trainable_state` returned.
        moments: AdamW's state for each parameter, by name.
        averages: The averaged weights, if the training keeps them (`noah.training.averaging`).
    """

    losses: tuple[float, ...]
    weights: dict[str, Tensor]
    moments: dict[str, dict[str, Tensor]]
    averages: dict[str, Tensor]


def save_checkpoint(
    path: Path,
    supernet: Supernet,
    optimizer: Optimizer,
    losses: list[float],
    averages: Mapping[str, Tensor] | None = None,
) -> None:
    """Write the state of a training after a whole epoch.

    Raises:
        OSError: If it cannot be written; an earlier checkpoint is kept.
    """
    tensors = {f"weights/{name}": value for name, value in supernet.trainable_state().items()}
    for name, parameter in supernet.named_parameters():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{moment}/{name}"] = value
    tensors |= {f"{_AVERAGE}/{name}": value for name, value in (averages or {}).items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    with atomic_file(path) as temporary:
        # save_file reports a full disk with an error that is not an OSError.
        temporary.write_bytes(save(values, metadata={"losses": json.dumps(losses)}))


def read_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Raises:
        RunError: If the file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            losses = parse_losses(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a mapping
    except (*DAMAGE, RuntimeError) as error:
        raise unreadable(path, error) from error
    moments: dict[str, dict[str, Tensor]] = {}
    weights, averages = {}, {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        if kind == "weights":
            weights[name] = value
        elif kind in _MOMENTS:
            moments.setdefault(name, {})[kind] = value
        elif kind == _AVERAGE:
            averages[name] = value
    return Checkpoint(losses, weights, moments, averages)


def restore(checkpoint: Checkpoint, supernet: Supernet, optimizer: Optimizer) -> None:
    """Load a checkpoint into a supernet and its optimizer, as they were after its last step.

    Raises:
        RunError: If the checkpoint belongs to another supernet.
    """
    _load(checkpoint.weights, supernet)
    # As torch places them: a fused optimizer counts steps on the parameter's device, any other on the CPU.
    fused = {parameter for group in optimizer.param_groups if group.get("fused") for parameter in group["params"]}
    for name, parameter in supernet.named_parameters():
        if name in checkpoint.moments:
            _check_moments(name, parameter, checkpoint.moments[name])
            optimizer.state[parameter] = {
                moment: value if moment == "step" and parameter not in fused else value.to(parameter.device)
                for moment, value in checkpoint.moments[name].items()
            }


def _check_moments(name: str, parameter: Tensor, moments: dict[str, Tensor]) -> None:
    expected = {moment: torch.Size() if moment == "step" else parameter.shape for moment in _MOMENTS}
    if {moment: value.shape for moment, value in moments.items()} != expected:
        raise RunError(
            f"The checkpoint does not fit this run's modules: the optimizer's state of {name} is of another shape.",
            "It belongs to another run; start a new one with `noah search`.",
        )


def load_weights(checkpoint: Checkpoint, supernet: Supernet) -> None:
    """Load a checkpoint's weights into a supernet, averaged if the training averaged them.

    Raises:
        RunError: If the checkpoint belongs to another supernet.
    """
    _load(checkpoint.weights | checkpoint.averages, supernet)


def _load(weights: dict[str, Tensor], supernet: Supernet) -> None:
    try:
        with torch.no_grad():
            supernet.load_trainable_state(weights)
    except (SettingsError, RuntimeError) as error:
        # The first line of torch's message is of no use; each further line names a weight.
        raise RunError(
            f"The checkpoint does not fit this run's modules: {str(error).splitlines()[-1].strip()}",
            "It belongs to another run; start a new one with `noah search`.",
        ) from error
