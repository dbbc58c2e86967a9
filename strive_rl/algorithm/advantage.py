"""Rewards → advantages, on plain arrays: A = (R − mean)/(std + 1e-4). float64 throughout.

Shapes: M variants of a question, G completions of a variant. Mean and std are those of all M·G rewards of the
question (normalise=joint) or of the G rewards of one variant (normalise=per_variant):

    joint, M > 1      STRIVE     arXiv 2604.01824 [paper]
    joint, M = 1      GRPO       arXiv 2402.03300, section 4.1.2
    loss=dr_grpo      Dr.GRPO    arXiv 2503.20783: R − mean, not divided by the std
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from strive_rl.config import AlgorithmSettings, Normalise
from strive_rl.schema import Rewards

STD_FLOOR = 1e-4
AXES: dict[Normalise, tuple[int, ...]] = {"joint": (-2, -1), "per_variant": (-1,)}


def advantages(rewards_MG: npt.ArrayLike, settings: AlgorithmSettings) -> Rewards:
    """Advantages in the shape of the rewards, [..., M, G].

    The std is the population's (divided by n, not n − 1; our choice): one right of G = 4 gets 1.73, the
    three wrong ones −.58. Where all rewards that are compared are equal their advantages are exactly 0.
    """
    rewards = np.asarray(rewards_MG, dtype=np.float64)
    if rewards.ndim < 2:
        raise ValueError(f"rewards of shape {rewards.shape}, expected [..., M, G]")
    over = AXES[settings.normalise]
    centred = rewards - rewards.mean(axis=over, keepdims=True)
    # The mean of equal numbers can differ from them in the last bit, and over the std's floor that counts.
    centred = np.where(_equal(rewards, over), 0.0, centred)
    if not settings.by_std:
        return centred
    return np.asarray(centred / (rewards.std(axis=over, keepdims=True) + STD_FLOOR))


def eta2(rewards_MG: npt.ArrayLike) -> float:
    """Share of the variance of one question's rewards [M, G] that lies between its variants, in [0, 1].

    One-way analysis of variance by variant: η² = SS_B/(SS_B + SS_W): SS_B = G·Σ_m(R̄_m − R̄)², SS_W =
    Σ(R_mg − R̄_m)². NaN where all rewards are equal: 0/0 says nothing about the variants.
    """
    rewards = np.asarray(rewards_MG, dtype=np.float64)
    if rewards.ndim != 2:
        raise ValueError(f"rewards of shape {rewards.shape}, expected [M, G]")
    # Rounding would give equal rewards a variance.
    if rewards.min() == rewards.max():
        return float("nan")
    means_M1 = rewards.mean(axis=1, keepdims=True)
    between = rewards.shape[1] * ((means_M1 - rewards.mean()) ** 2).sum()
    within = ((rewards - means_M1) ** 2).sum()
    return float(between / (between + within))


def has_zero_advantage(accuracy_MG: npt.ArrayLike) -> bool:
    """Whether all M×G completions have equal accuracy: such a question is left out of the update.

    Never asked of the shaped total: a difference in format alone would teach nothing but format.
    """
    return not differs(accuracy_MG, "joint").any()


def differs(accuracy_MG: npt.ArrayLike, normalise: Normalise) -> npt.NDArray[np.bool_]:
    """Of each completion [M, G], whether those that it is compared with differ in accuracy; if not, it is not
    learned: per variant, a variant of equally accurate completions is left out too."""
    accuracy = np.asarray(accuracy_MG, dtype=np.float64)
    return np.broadcast_to(~_equal(accuracy, AXES[normalise]), accuracy.shape)


def _equal(values: Rewards, over: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """Whether all values along these axes are the same; the axes stay, with one entry."""
    return np.asarray(values.min(axis=over, keepdims=True) == values.max(axis=over, keepdims=True))
