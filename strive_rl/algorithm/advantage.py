"""Settings and rewards → advantages. float64 throughout.

Shapes: Q questions, M variants, G completions of a variant. With one variant `joint` is GRPO; over M×G it is
STRIVE [paper]; `both` is Share-GRPO; `leave_one_out` without the std is RLOO; `mean` without it is Dr.GRPO.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from strive_rl.config import AlgorithmSettings, Normalise
from strive_rl.schema import Rewards

# Where the variance of a question's rewards lies, and which questions teach nothing.


@dataclass(frozen=True, kw_only=True)
class VarianceParts:
    """Nested one-way analysis of variance of one grid.

    `between` SS_B = G·Σ_m(R̄_m − R̄)², `within` SS_W = Σ(R_mg − R̄_m)², `eta2` = SS_B/SS_T in [0, 1]; NaN where
    all rewards are equal, since 0/0 says nothing about the variants.
    """

    between: float
    within: float
    eta2: float


def variance_parts(rewards_MG: npt.ArrayLike) -> VarianceParts:
    """How much of the rewards' variance in one grid [M, G] lies between the variants' means."""
    rewards = np.asarray(rewards_MG, dtype=np.float64)
    if rewards.ndim != 2:
        raise ValueError(f"rewards of shape {rewards.shape}, expected [M, G]")
    if has_zero_advantage(rewards):
        return VarianceParts(between=0.0, within=0.0, eta2=float("nan"))
    means_M1 = rewards.mean(axis=1, keepdims=True)
    between = float(rewards.shape[1] * ((means_M1 - rewards.mean()) ** 2).sum())
    within = float(((rewards - means_M1) ** 2).sum())
    return VarianceParts(between=between, within=within, eta2=between / (between + within))


def has_zero_advantage(accuracy_MG: npt.ArrayLike) -> bool:
    """Whether all M×G responses have equal accuracy: such a question is left out of the update and counted.

    Give it the accuracy part of the reward, never the shaped total: a difference in form alone would keep a
    question whose advantages then teach nothing but form.
    """
    accuracy = np.asarray(accuracy_MG, dtype=np.float64)
    return bool(accuracy.min() == accuracy.max())


# The mean of a set of responses as their baseline, and what all baselines share.
#
# Shapes: M variants, G completions of a variant, after any leading axes. A set is the whole grid or one
# row.

# Axes of a set.
GRID, ROW = (-2, -1), (-1,)
Axes = tuple[int, ...]


def centred(rewards_MG: Rewards, over: Axes) -> Rewards:
    """R − mean over the set; exactly 0 where all rewards of the set are equal, whatever the rounding."""
    difference = rewards_MG - rewards_MG.mean(axis=over, keepdims=True)
    # The mean of equal numbers can differ from them in the last bit, and over the std's floor that counts.
    equal = rewards_MG.min(axis=over, keepdims=True) == rewards_MG.max(axis=over, keepdims=True)
    return np.where(equal, 0.0, difference)


# The mean of the other responses of a set as the baseline (RLOO, arXiv 2402.14740).
#
# It does not depend on the response itself, so the gradient has no bias; R − mean of the n − 1 others is
# n/(n − 1)·(R − mean of all).


def left_out(rewards_MG: Rewards, over: Axes) -> Rewards:
    """R − mean of the others of its set; 0 in a set of one, which has no others, and where all are equal."""
    size = prod(rewards_MG.shape[axis] for axis in over)
    difference: Rewards = centred(rewards_MG, over) * (size / max(size - 1, 1))
    return difference


# A baseline between one for each variant and one for all (METHOD.md section 5; beyond the paper).
#
# b_mg = λ·R̄_{m,−g} + (1 − λ)·R̄_{−(m,g)}, λ = σ_a²/(σ_a² + σ_e²/(G − 1)): the more the variants of a
# question
# differ, beside what chance explains, the more a response is compared with those to its own variant. λ is
# one
# number for a batch: σ_e² = MSW, σ_a² = max(0, (MSB − MSW)/G), from sums of squares pooled over its
# questions.


@dataclass(frozen=True, kw_only=True)
class VariancePool:
    """Sums over the questions of a batch: of squares between and within variants, and of their degrees of
    freedom, M − 1 and M·(G − 1) a question. Pools of parts of a batch add up, field by field."""

    between: float = 0.0
    within: float = 0.0
    df_between: int = 0
    df_within: int = 0

    @classmethod
    def joined(cls, parts: Sequence[VariancePool]) -> VariancePool:
        """The pool of a batch from those of its parts."""
        return cls(
            between=sum(part.between for part in parts),
            within=sum(part.within for part in parts),
            df_between=sum(part.df_between for part in parts),
            df_within=sum(part.df_within for part in parts),
        )

    def weight(self, completions: int) -> float:
        """λ in [0, 1] for G = `completions`; 0 where nothing is known of the variance within variants."""
        if completions < 2 or not self.df_between or not self.df_within:
            return 0.0
        error = self.within / self.df_within
        variants = max(0.0, (self.between / self.df_between - error) / completions)
        total = variants + error / (completions - 1)
        return variants / total if total else 0.0


def variance_pool(grids: Sequence[Rewards]) -> VariancePool:
    """Pool of grids [M, G], of any shapes."""
    parts = [variance_parts(grid) for grid in grids]
    return VariancePool(
        between=sum(part.between for part in parts),
        within=sum(part.within for part in parts),
        df_between=sum(grid.shape[0] - 1 for grid in grids),
        df_within=sum(grid.shape[0] * (grid.shape[1] - 1) for grid in grids),
    )


def mixed(rewards_MG: Rewards, weight: float) -> Rewards:
    """R − b for λ = `weight`: 0 is leave-one-out over the grid, 1 leave-one-out over each row."""
    return weight * left_out(rewards_MG, ROW) + (1 - weight) * left_out(rewards_MG, GRID)


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
