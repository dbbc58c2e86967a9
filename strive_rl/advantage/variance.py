"""Where the variance of a question's rewards lies, and which questions teach nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


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
