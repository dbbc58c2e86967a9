"""What to do when the device is full."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from strive_data.errors import UsageError
from strive_rl.config import PolicySettings


@contextmanager
def memory_advice(settings: PolicySettings) -> Iterator[None]:
    """Turn running out of the device's memory into a UsageError that names the settings to lower."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        first = str(error).partition(". ")[0]
        raise UsageError(
            f"{first}: lower policy.groups_per_pass (now {settings.groups_per_pass}) or set "
            "policy.gradient_checkpointing=true, with which a run can also be resumed; or lower "
            f"policy.prompts_per_pass (now {settings.prompts_per_pass}) or policy.logits_chunk_tokens (now "
            f"{settings.logits_chunk_tokens})"
        ) from error
