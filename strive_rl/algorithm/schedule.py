"""How focused the variants are, over the steps of a run: α, the share of candidates that they are drawn from.

Beyond the paper, which names dynamic temperatures as future work.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strive_data.errors import UsageError
from strive_rl.algorithm.advantage import has_zero_advantage
from strive_rl.config import DataSettings, OptimSettings, TrainSettings
from strive_rl.schema import Rewards

# The learning rate over the steps of a run.


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


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """Questions of a step, over all processes: how many, and of them those without an advantage, by side.

    `right` and `wrong` are equally accurate above and below one half; exactly one half is neither.
    """

    questions: int = 0
    right: int = 0
    wrong: int = 0

    @classmethod
    def of(cls, parts: Sequence[Outcome]) -> Outcome:
        """The outcome of all parts of a step."""
        return cls(
            questions=sum(part.questions for part in parts),
            right=sum(part.right for part in parts),
            wrong=sum(part.wrong for part in parts),
        )


NOTHING = Outcome()


def outcome(accuracies: Iterable[Rewards]) -> Outcome:
    """Outcome of questions by their accuracies [M, G], of any shapes."""
    sides = [side(grid) for grid in accuracies]
    return Outcome(questions=len(sides), right=sides.count(1), wrong=sides.count(-1))


def side(accuracy_MG: Rewards) -> int:
    """1 where all answers are equally accurate above one half, −1 below it, 0 where they differ."""
    if not has_zero_advantage(accuracy_MG):
        return 0
    level = float(accuracy_MG.flat[0])
    return (level > 0.5) - (level < 0.5)


def require_alpha(alpha: float | None, settings: TrainSettings) -> None:
    """Raise UsageError where α has to move and the shards, whose variants are drawn with `alpha`, cannot."""
    movers = {
        f"data.alpha_schedule={settings.data.alpha_schedule}": settings.data.alpha_schedule != "constant",
        "rollout.adaptive": settings.rollout.adaptive,
    }
    for name in (name for name, moves in movers.items() if moves and alpha is None):
        raise UsageError(
            f"{name} draws variants with another alpha as it goes: it needs shards built with --set "
            "shard.frames=all, sampler comb or peaks, and one alpha for all builds (data.alpha)"
        )


def following_alpha(
    alpha: float, settings: DataSettings, *, start: float, step: int, steps: int, seen: Outcome = NOTHING
) -> float:
    """α of the 0-based `step` of a run of `steps`, after a step with `alpha` and outcome `seen`.

    `linear` and `cosine` go from `start` to `alpha_final` over `alpha_steps` steps, or so that the run's last
    step has it, and look at the step alone. `zero_advantage` multiplies by exp(alpha_gain·(right − wrong) /
    questions), within `alpha_least` and 1: where more questions are all right than all wrong the variants
    become more diffuse, and so harder; where more are all wrong, more focused. It rests where these balance,
    as where every question has an advantage.
    """
    if settings.alpha_schedule == "constant":
        return start
    if settings.alpha_schedule == "zero_advantage":
        lean = (seen.right - seen.wrong) / max(1, seen.questions)
        return min(1.0, max(settings.alpha_least, alpha * math.exp(settings.alpha_gain * lean)))
    last = settings.alpha_steps or steps - 1
    gone = min(1.0, step / max(1, last))
    if settings.alpha_schedule == "cosine":
        gone = (1 - math.cos(math.pi * gone)) / 2
    final = start if settings.alpha_final is None else settings.alpha_final
    return start + (final - start) * gone
