"""What a stage changes for the whole process is put back, also when it fails."""

from __future__ import annotations

import pytest
import torch

from noah.api.process_state import as_found
from tests.noah.global_random_state import unmoved_global_state


@pytest.mark.parametrize("fails", [False, True])
def test_seeds_threads_and_precision_are_put_back(fails: bool) -> None:
    threads, allowed = torch.get_num_threads(), torch.backends.cudnn.allow_tf32
    with unmoved_global_state():
        try:
            with as_found():
                torch.manual_seed(1234)
                torch.set_num_threads(threads + 1)
                torch.backends.cudnn.allow_tf32 = not allowed
                if fails:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            assert fails
    assert (torch.get_num_threads(), torch.backends.cudnn.allow_tf32) == (threads, allowed)
