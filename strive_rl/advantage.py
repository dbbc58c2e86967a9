"""Rewards of the M×G grid of a question → advantages, and where their variance lies (METHOD.md section 5).

Shapes: Q questions (any leading axes), M variants, G completions of a variant. float64 throughout.
GRPO is M = 1; STRIVE is the joint normalisation over M×G [paper].
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from strive_rl.schema import Rewards

Normalise = Literal["joint", "per_variant", "both"]

STD_FLOOR = 1e-4


@dataclass(frozen=True, kw_only=True)
class VarianceParts:
    """Nested one-way analysis of variance of one grid.

    `between` SS_B = G·Σ_m(R̄_m − R̄)², `within` SS_W = Σ(R_mg − R̄_m)², `eta2` = SS_B/SS_T in [0, 1]; NaN where
    all rewards are equal, since 0/0 says nothing about the variants.
    """

    between: float
    within: float
    eta2: float


def advantages(rewards_MG: npt.ArrayLike, *, normalise: Normalise, divide_by_std: bool) -> Rewards:
    """A = (R − mean)/(std + 1e-4), float64 in the shape of the rewards: [M, G], or [Q, M, G] by question.

    `joint` takes mean and std over M×G (STRIVE), `per_variant` over each row, `both` adds the two
    (Share-GRPO). `divide_by_std = False` only subtracts the mean (Dr.GRPO). The std is the population's
    (divided by n, not n−1): METHOD.md does not say which; with it an all-but-one group of G = 4 has 1.73 and
    −.58. Where all rewards of a mean's set are equal their advantages are exactly 0, whatever the rounding.
    """
    rewards = np.asarray(rewards_MG, dtype=np.float64)
    if rewards.ndim < 2:
        raise ValueError(f"rewards of shape {rewards.shape}, expected [..., M, G]")
    axes: dict[Normalise, list[tuple[int, ...]]] = {
        "joint": [(-2, -1)],
        "per_variant": [(-1,)],
        "both": [(-2, -1), (-1,)],
    }
    parts = [_standardised(rewards, over, divide_by_std) for over in axes[normalise]]
    return np.asarray(sum(parts), dtype=np.float64)


def variance_parts(rewards_MG: npt.ArrayLike) -> VarianceParts:
    """How much of the rewards' variance in one grid [M, G] lies between the variants' means."""
    rewards = np.asarray(rewards_MG, dtype=np.float64)
    if rewards.ndim != 2:
        raise ValueError(f"rewards of shape {rewards.shape}, expected [M, G]")
    if is_uninformative(rewards):
        return VarianceParts(between=0.0, within=0.0, eta2=float("nan"))
    means_M1 = rewards.mean(axis=1, keepdims=True)
    between = float(rewards.shape[1] * ((means_M1 - rewards.mean()) ** 2).sum())
    within = float(((rewards - means_M1) ** 2).sum())
    return VarianceParts(between=between, within=within, eta2=between / (between + within))


def is_uninformative(accuracy_MG: npt.ArrayLike) -> bool:
    """Whether all M×G responses have equal accuracy: such a question is left out of the update and counted.

    Give it the accuracy part of the reward, never the shaped total: a difference in form alone would keep a
    question whose advantages then teach nothing but form.
    """
    accuracy = np.asarray(accuracy_MG, dtype=np.float64)
    return bool(accuracy.min() == accuracy.max())


def _standardised(rewards: Rewards, over: tuple[int, ...], divide_by_std: bool) -> Rewards:
    centred = rewards - rewards.mean(axis=over, keepdims=True)
    # The mean of equal numbers can differ from them in the last bit; over the floor that is still not 0.
    equal = rewards.min(axis=over, keepdims=True) == rewards.max(axis=over, keepdims=True)
    scale = rewards.std(axis=over, keepdims=True) + STD_FLOOR if divide_by_std else 1.0
    standardised: Rewards = np.where(equal, 0.0, centred / scale)
    return standardised
