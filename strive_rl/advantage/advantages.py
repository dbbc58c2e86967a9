"""Settings and rewards → advantages. float64 throughout.

Shapes: Q questions, M variants, G completions of a variant. With one variant `joint` is GRPO; over M×G it is
STRIVE [paper]; `both` is Share-GRPO; `leave_one_out` without the std is RLOO; `mean` without it is Dr.GRPO.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from strive_rl.advantage.empirical_bayes import VariancePool, mixed, variance_pool
from strive_rl.advantage.group_mean import GRID, ROW, Axes, centred
from strive_rl.advantage.leave_one_out import left_out
from strive_rl.config import AlgorithmSettings, Normalise
from strive_rl.schema import Rewards

STD_FLOOR = 1e-4
SETS: dict[Normalise, tuple[Axes, ...]] = {"joint": (GRID,), "per_variant": (ROW,), "both": (GRID, ROW)}


def batch_advantages(
    grids: Sequence[Rewards], settings: AlgorithmSettings, pool: VariancePool | None = None
) -> list[Rewards]:
    """Advantages float64 [M, G] of each question of a batch.

    `pool` is that of the whole batch where this is a part of it (one process of several); only the
    empirical-Bayes baseline looks at it.
    """
    shared = pool or variance_pool(grids)
    return [advantages(grid, settings, weight=shared.weight(grid.shape[-1])) for grid in grids]


def advantages(rewards_MG: npt.ArrayLike, settings: AlgorithmSettings, *, weight: float = 0.0) -> Rewards:
    """A = R − baseline, over std + 1e-4 where `settings.by_std`; in the shape of the rewards, [..., M, G].

    `normalise` says of which set baseline and std are: `joint` M×G, `per_variant` a row, `both` the sum of
    the two. `weight` is λ of the empirical-Bayes baseline, whose std is over M×G. The std is the population's
    (divided by n, not n−1): METHOD.md does not say which; with it an all-but-one group of G = 4 has 1.73 and
    −.58. Where all rewards of a set are equal their advantages are exactly 0.
    """
    rewards = np.asarray(rewards_MG, dtype=np.float64)
    if rewards.ndim < 2:
        raise ValueError(f"rewards of shape {rewards.shape}, expected [..., M, G]")
    if settings.baseline == "empirical_bayes":
        return mixed(rewards, weight) / _scale(rewards, GRID, settings)
    baseline = left_out if settings.baseline == "leave_one_out" else centred
    parts = [baseline(rewards, over) / _scale(rewards, over, settings) for over in SETS[settings.normalise]]
    return np.asarray(sum(parts), dtype=np.float64)


def _scale(rewards: Rewards, over: Axes, settings: AlgorithmSettings) -> Rewards | float:
    return rewards.std(axis=over, keepdims=True) + STD_FLOOR if settings.by_std else 1.0
