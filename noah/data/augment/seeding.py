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

    What is drawn inside depends on the words alone, and what is drawn afterwards is what would have been drawn without
    the `with` block. A process has one set of global generators, so no second thread may draw from them meanwhile.

    Args:
        words: Whole numbers from 0; the last one above 0, since to NumPy a last word of 0 is no word.
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
