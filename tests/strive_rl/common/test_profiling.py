from __future__ import annotations

import time

import numpy as np
import psutil
import pytest
import torch

from strive_data.errors import UsageError
from strive_rl.common.profiling import Stopwatch, oom_hint, peak_memory
from strive_rl.config import PolicySettings


def test_laps_add_up_under_their_names() -> None:
    watch = Stopwatch()
    time.sleep(0.02)
    watch.lap("a")
    watch.lap("b")
    time.sleep(0.02)
    watch.lap("a")
    seconds = watch.seconds()
    assert list(seconds) == ["a", "b", "total"]
    assert seconds["a"] >= 0.04 > seconds["b"]
    assert seconds["total"] == seconds["a"] + seconds["b"]


def test_the_peak_is_that_of_this_process_in_bytes() -> None:
    held = np.ones(50_000_000, dtype=np.uint8)
    now = psutil.Process().memory_info().rss
    made = peak_memory(torch.device("cpu"))
    assert list(made) == ["process"]
    assert 0.98 * now <= made["process"] < 100 * now
    assert held.nbytes < made["process"]


def test_a_full_device_is_reported_with_the_settings_to_lower() -> None:
    expected = r"^CUDA out of memory: .*policy\.prompts_per_pass \(now 3\) or policy\.logits_chunk_tokens .*$"
    with pytest.raises(UsageError, match=expected), oom_hint(PolicySettings(prompts_per_pass=3)):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="other"), oom_hint(PolicySettings()):
        raise RuntimeError("other")
