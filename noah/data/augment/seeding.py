"""Random numbers for code that draws from global generators, as timm's and torchvision's transforms do."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def seeded(*words: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch on the CPU, and put them back at the end.

    What is drawn inside the `with` block depends on the words alone, and what is drawn after it is not affected. The
    global generators belong to the whole process, so no other thread may draw from them meanwhile.

    Args:
        words: Whole numbers, 0 or more; the last must not be 0, because NumPy ignores a last word of 0.
    """
    python, array, tensor = random.getstate(), np.random.get_state(), torch.get_rng_state()
    seeds = np.random.SeedSequence(words).generate_state(10)
    try:
        random.seed(seeds[:4].tobytes())
        np.random.seed(seeds[4:8])
        # torch.manual_seed would seed the GPUs too, whose generators are not put back here.
        torch.default_generator.manual_seed(int(seeds[8:10].view(np.uint64)[0] >> np.uint64(1)))
        yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_rng_state(tensor)
