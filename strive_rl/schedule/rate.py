"""The learning rate over the steps of a run."""

from __future__ import annotations

import math

from strive_rl.config import OptimSettings


def learning_rate(step: int, settings: OptimSettings, steps: int) -> float:
    """Rate of the 0-based `step` of a run of `steps`.

    Rises linearly to `lr` over `warmup_steps` steps; then constant, or on a line or half a cosine down to
    `final_lr`, which is reached after `decay_steps` steps, or those of the run.
    """
    first, end = settings.warmup_steps, settings.decay_steps or steps
    if step < first:
        return settings.lr * (step + 1) / first
    gone = min(1.0, (step - first) / max(1, end - first))
    height = settings.lr - settings.final_lr
    if settings.schedule == "linear":
        return settings.final_lr + height * (1 - gone)
    if settings.schedule == "cosine":
        return settings.final_lr + height * (1 + math.cos(math.pi * gone)) / 2
    return settings.lr
