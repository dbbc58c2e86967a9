"""What moves over the steps of a run: the learning rate, and α, how concentrated the variants are.

α is the share of candidate frames that variants are drawn from. Its schedules are
beyond the paper, which names dynamic temperatures as future work. `alpha_at` gives the α of every step.
"""

from __future__ import annotations

import math

from strive_data.errors import UsageError
from strive_rl.config import OptimSettings, TrainSettings


def learning_rate(step: int, settings: OptimSettings, steps: int) -> float:
    """Rate of the 0-based `step` of a run of `steps`.

    Rises linearly to `lr` over `warmup_steps` steps; then constant, or on a line or half a cosine down to
    `final_lr`, which is reached after `decay_steps` steps, or at the end of the run.
    """
    first, end = settings.warmup_steps, settings.decay_steps or steps
    if step < first:
        return settings.lr * (step + 1) / first
    progress = min(1.0, (step - first) / max(1, end - first))
    height = settings.lr - settings.final_lr
    if settings.schedule == "linear":
        return settings.final_lr + height * (1 - progress)
    if settings.schedule == "cosine":
        return settings.final_lr + height * (1 + math.cos(math.pi * progress)) / 2
    return settings.lr


def alpha_at(step: int, settings: TrainSettings, start: float | None) -> float | None:
    """α of the 0-based `step` of a run that begins with α = `start`; None where the variants have no one α.

    `linear` and `cosine` go from `start` to `alpha_final` over `alpha_steps` steps, or up to the last step of
    the run.
    """
    data = settings.data
    if start is None or data.alpha_final is None:
        return start
    last = data.alpha_steps or settings.steps - 1
    progress = min(1.0, step / max(1, last))
    if data.alpha_schedule == "cosine":
        progress = (1 - math.cos(math.pi * progress)) / 2
    return start + (data.alpha_final - start) * progress


def require_alpha(alpha: float | None, settings: TrainSettings) -> None:
    """Raise UsageError where the schedule moves α and the shards, whose variants have `alpha`, cannot."""
    if settings.data.alpha_schedule != "constant" and alpha is None:
        raise UsageError(
            f"data.alpha_schedule={settings.data.alpha_schedule} draws variants with another alpha at each "
            "step: it needs shards built with --set shard.frames=all, sampler comb or peaks, and one alpha "
            "for all builds (data.alpha)"
        )
