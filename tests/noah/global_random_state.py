"""The state of the global random generators, to see that nobody moved them."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def set_global_state(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def global_state() -> bytes:
    name, keys, *rest = np.random.get_state()
    return repr((random.getstate(), name, rest)).encode() + keys.tobytes() + torch.get_rng_state().numpy().tobytes()


@contextmanager
def unmoved_global_state() -> Iterator[None]:
    before = global_state()
    yield
    assert global_state() == before
