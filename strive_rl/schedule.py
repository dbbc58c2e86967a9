"""The learning rate over the steps of a run."""

from __future__ import annotations

from strive_rl.config import OptimSettings


def learning_rate(step: int, settings: OptimSettings) -> float:
    """Rate of the 0-based `step`: rises linearly to `lr` over `warmup_steps` steps, then stays."""
    if step >= settings.warmup_steps:
        return settings.lr
    return settings.lr * (step + 1) / settings.warmup_steps
