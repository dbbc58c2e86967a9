from __future__ import annotations

import pytest
import torch

from strive_data.errors import UsageError
from strive_rl.config import PolicySettings
from strive_rl.memory import memory_advice


def test_a_full_device_is_told_with_the_settings_to_lower() -> None:
    expected = r"^CUDA out of memory: .*policy\.prompts_per_pass \(now 3\) or policy\.logits_chunk_tokens .*$"
    with pytest.raises(UsageError, match=expected), memory_advice(PolicySettings(prompts_per_pass=3)):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")


def test_other_errors_pass() -> None:
    with pytest.raises(RuntimeError, match="other"), memory_advice(PolicySettings()):
        raise RuntimeError("other")
