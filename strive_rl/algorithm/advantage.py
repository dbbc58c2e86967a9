"""Rewards → advantages, on plain arrays: A = (R − baseline)/(std + 1e-4). float64 throughout.

Shapes: Q questions, M variants, G completions of a variant. A *set* is what a completion is compared with:
the whole grid of its question, or its row, the completions of one variant.

Settings → published algorithms:

    normalise=joint, M=1         GRPO        arXiv 2402.03300, section 4.1.2
    normalise=joint, M>1         STRIVE      arXiv 2604.01824 [paper]
    normalise=both               Share-GRPO  arXiv 2505.16673
    loss=dr_grpo                 Dr.GRPO     arXiv 2503.20783: no std
    baseline=leave_one_out       RLOO        arXiv 2402.14740: no std
    baseline=empirical_bayes     beyond the papers, see `VariancePool`
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from math import prod

import numpy as np
import numpy.typing as npt

from strive_rl.config import AlgorithmSettings, Normalise
from strive_rl.schema import Rewards

STD_FLOOR = 1e-4

# Axes of a set.
GRID, ROW = (-2, -1), (-1,)
Axes = tuple[int, ...]
SETS: dict[Normalise, tuple[Axes, ...]] = {"joint": (GRID,), "per_variant": (ROW,), "both": (GRID, ROW)}


def batch_advantages(
    grids: Sequence[Rewards], settings: AlgorithmSettings, pool: VariancePool | None = None
) -> list[Rewards]:
    """Advantages float64 [M, G] of each question of a batch; the grids may differ in shape.

    `pool` is that of the whole batch where `grids` is a part of it (one process of several); the
    empirical-Bayes baseline alone uses it.
    """
    shared = pool or variance_pool(grids)
    return [advantages(grid, settings, weight=shared.weight(grid.shape[-1])) for grid in grids]


def advantages(rewards_MG: npt.ArrayLike, settings: AlgorithmSettings, *, weight: float = 0.0) -> Rewards:
    """Advantages in the shape of the rewards, [..., M, G].

    `settings.normalise` names the set of baseline and std: `joint` the grid, `per_variant` the row, `both`
    the sum of the two. `weight` is λ of the empirical-Bayes baseline, whose std is over the grid. The std is
    the population's (divided by n, not n − 1; our choice): an all-but-one group of G = 4 gets
    1.73 and −.58. Where all rewards of a set are equal their advantages are exactly 0.
    """
    rewards = np.asarray(rewards_MG, dtype=np.float64)
    if rewards.ndim < 2:
        raise ValueError(f"rewards of shape {rewards.shape}, expected [..., M, G]")
    if settings.baseline == "empirical_bayes":
        return minus_mixed(rewards, weight) / _scale(rewards, GRID, settings)
    minus_baseline = minus_others if settings.baseline == "leave_one_out" else minus_mean
    parts = [
        minus_baseline(rewards, over) / _scale(rewards, over, settings) for over in SETS[settings.normalise]
    ]
    return np.asarray(sum(parts), dtype=np.float64)


def _scale(rewards_MG: Rewards, over: Axes, settings: AlgorithmSettings) -> Rewards | float:
    return rewards_MG.std(axis=over, keepdims=True) + STD_FLOOR if settings.by_std else 1.0


def minus_mean(rewards_MG: Rewards, over: Axes) -> Rewards:
    """R − mean of the set; exactly 0 where all rewards of the set are equal, whatever the rounding."""
    difference = rewards_MG - rewards_MG.mean(axis=over, keepdims=True)
    # The mean of equal numbers can differ from them in the last bit, and over the std's floor that counts.
    equal = rewards_MG.min(axis=over, keepdims=True) == rewards_MG.max(axis=over, keepdims=True)
    return np.where(equal, 0.0, difference)


def minus_others(rewards_MG: Rewards, over: Axes) -> Rewards:
    """R − mean of the n − 1 others of the set, which is n/(n − 1)·(R − mean); 0 in a set of one.

    This baseline does not depend on the completion itself, so the gradient has no bias (RLOO).
    """
    size = prod(rewards_MG.shape[axis] for axis in over)
    difference: Rewards = minus_mean(rewards_MG, over) * (size / max(size - 1, 1))
    return difference


def minus_mixed(rewards_MG: Rewards, weight: float) -> Rewards:
    """R − b for λ = `weight`: 0 is leave-one-out over the grid, 1 leave-one-out over each row."""
    return weight * minus_others(rewards_MG, ROW) + (1 - weight) * minus_others(rewards_MG, GRID)


@dataclass(frozen=True, kw_only=True)
class VariancePool:
    """Nested one-way analysis of variance, summed over the questions of a batch.

    Of a question: `between` SS_B = G·Σ_m(R̄_m − R̄)² and `within` SS_W = Σ(R_mg − R̄_m)², their degrees of
    freedom M − 1 and M·(G − 1). Pools of parts of a batch add up, field by field.

    They give λ of the empirical-Bayes baseline b_mg = λ·R̄_{m,−g} + (1 − λ)·R̄_{−(m,g)}: the more the variants
    of a question differ, beside what chance explains, the more a completion is compared with those of its own
    variant.
    """

    between: float = 0.0
    within: float = 0.0
    df_between: int = 0
    df_within: int = 0

    @classmethod
    def joined(cls, parts: Sequence[VariancePool]) -> VariancePool:
        """The pool of a batch from those of its parts."""
        return cls(**{field.name: sum(getattr(part, field.name) for part in parts) for field in fields(cls)})

    def weight(self, completions: int) -> float:
        """λ = σ_a²/(σ_a² + σ_e²/(G − 1)) in [0, 1] for G = `completions`, with σ_e² = MSW and
        σ_a² = max(0, (MSB − MSW)/G); 0 where the variance within variants is unknown."""
        if completions < 2 or not self.df_between or not self.df_within:
            return 0.0
        error = self.within / self.df_within
        variants = max(0.0, (self.between / self.df_between - error) / completions)
        total = variants + error / (completions - 1)
        return variants / total if total else 0.0

    @property
    def eta2(self) -> float:
        """η² = SS_B/SS_T in [0, 1]; NaN where all rewards are equal: 0/0 says nothing about the variants."""
        total = self.between + self.within
        return self.between / total if total else float("nan")


def variance_pool(grids: Sequence[npt.ArrayLike]) -> VariancePool:
    """Pool of grids [M, G], of any shapes."""
    return VariancePool.joined([_variances(np.asarray(grid, dtype=np.float64)) for grid in grids])


def _variances(rewards_MG: Rewards) -> VariancePool:
    if rewards_MG.ndim != 2:
        raise ValueError(f"rewards of shape {rewards_MG.shape}, expected [M, G]")
    variants, completions = rewards_MG.shape
    means_M1 = rewards_MG.mean(axis=1, keepdims=True)
    # Rounding would give equal rewards a variance.
    differ = bool(rewards_MG.min() != rewards_MG.max())
    return VariancePool(
        between=float(completions * ((means_M1 - rewards_MG.mean()) ** 2).sum()) if differ else 0.0,
        within=float(((rewards_MG - means_M1) ** 2).sum()) if differ else 0.0,
        df_between=variants - 1,
        df_within=variants * (completions - 1),
    )


def has_zero_advantage(accuracy_MG: npt.ArrayLike) -> bool:
    """Whether all M×G completions have equal accuracy: such a question is left out of the update.

    It takes the accuracy part of the reward, never the shaped total: a difference in format alone would keep
    a question from which nothing but format is learned.
    """
    accuracy = np.asarray(accuracy_MG, dtype=np.float64)
    return bool(accuracy.min() == accuracy.max())
