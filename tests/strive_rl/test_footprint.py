"""Peak memory is in bytes and sees what was held."""

from __future__ import annotations

import numpy as np
import psutil
import torch

from strive_rl.footprint import peak_memory


def test_the_peak_is_that_of_this_process_in_bytes() -> None:
    held = np.ones(50_000_000, dtype=np.uint8)
    now = psutil.Process().memory_info().rss
    made = peak_memory(torch.device("cpu"))
    assert list(made) == ["process"]
    assert 0.98 * now <= made["process"] < 100 * now
    assert held.nbytes < made["process"]
