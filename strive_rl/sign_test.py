"""Exact sign test (McNemar's, for answers that are right or wrong). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, kw_only=True)
class SignTest:
    """How often the second was better, worse and as good, and how likely so uneven a split is by chance."""

    won: int
    lost: int
    tied: int
    p: float


def sign_test(differences: Iterable[float]) -> SignTest:
    """Two-sided exact test that gains and losses are equally likely; ties say nothing.

    p = min(1, 2·Σ_{k ≤ min(won, lost)} C(n, k)/2^n) with n = won + lost; 1 where n = 0. It takes the
    differences as independent.
    """
    values = list(differences)
    won, lost = sum(value > 0 for value in values), sum(value < 0 for value in values)
    n = won + lost
    term = tail = 1
    for k in range(min(won, lost)):
        term = term * (n - k) // (k + 1)  # C(n, k + 1)
        tail += term
    return SignTest(
        won=won, lost=lost, tied=len(values) - n, p=float(min(Fraction(2 * tail, 2**n), Fraction(1)))
    )
