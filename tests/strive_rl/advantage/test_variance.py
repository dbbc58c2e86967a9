"""The analysis of variance by hand, and which questions teach nothing."""

from __future__ import annotations

import math
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given

from strive_rl.advantage.variance import is_uninformative, variance_parts
from strive_rl.schema import Rewards
from tests.strive_rl.advantage.test_group_mean import REWARDS_QMG
from tests.strive_rl.advantage.test_leave_one_out import GRIDS


def test_variance_parts_by_hand() -> None:
    between = variance_parts(REWARDS_QMG[0])
    assert (between.between, between.within, between.eta2) == (1, 0, 1)
    # Row means .5 and 0, grand mean .25: SS_B = 2·2·.0625, SS_W = 2·.25
    mixed = variance_parts(REWARDS_QMG[1])
    assert (mixed.between, mixed.within) == (0.25, 0.5)
    assert mixed.eta2 == pytest.approx(1 / 3)
    assert math.isnan(variance_parts(np.full((2, 4), 0.1)).eta2)


@given(GRIDS)
def test_variance_parts_add_up(rewards_MG: Rewards) -> None:
    parts = variance_parts(rewards_MG)
    total = ((rewards_MG - rewards_MG.mean()) ** 2).sum()
    assert parts.between + parts.within == pytest.approx(total, abs=1e-12)
    assert math.isnan(parts.eta2) or 0 <= parts.eta2 <= 1


def test_one_grid_at_a_time() -> None:
    with pytest.raises(ValueError, match="expected"):
        variance_parts(REWARDS_QMG)


def test_filter_is_on_accuracy() -> None:
    accuracy = np.ones((2, 4))
    shaped = 0.9 * accuracy + 0.1 * np.eye(2, 4)
    assert is_uninformative(accuracy)
    assert not is_uninformative(shaped)
    assert not is_uninformative(np.eye(2, 4))


@pytest.mark.parametrize(
    ("variants", "completions", "share"),
    [(1, 8, Fraction(2, 9)), (2, 4, Fraction(2, 25)), (4, 2, Fraction(2, 81))],
)
def test_share_of_equal_groups_under_a_uniform_success_rate(
    variants: int, completions: int, share: Fraction
) -> None:
    """METHOD.md section 5: p_m ~ Beta(1, 1) and all M·G rewards equal: .222, .080, .025, integrated exactly.

    A row with s right answers of G has the chance ∫p^s(1−p)^(G−s)dp = 1/((G + 1)·C(G, s)).
    """
    equal = Fraction(0)
    for cells in product((0, 1), repeat=variants * completions):
        accuracy_MG = np.array(cells).reshape(variants, completions)
        if is_uninformative(accuracy_MG):
            rows = [
                (completions + 1) * math.comb(completions, int(right)) for right in accuracy_MG.sum(axis=1)
            ]
            equal += Fraction(1, math.prod(rows))
    assert equal == share
    assert float(share) == pytest.approx({1: 0.222, 2: 0.080, 4: 0.025}[variants], abs=5e-4)


@pytest.mark.parametrize("rates", [(0.3, 0.3), (0.2, 0.4), (0.0, 0.6), (0.5, 0.5), (0.1, 0.9)])
def test_variants_help_by_the_variance_of_their_success_rates_alone(rates: tuple[float, float]) -> None:
    """(E p^G)^M + (E(1−p)^G)^M ≤ E p^{MG} + E(1−p)^{MG}, equal only for one rate; here 2×4 and 1×8."""
    rate = np.array(rates)
    apart = np.mean(rate**4) ** 2 + np.mean((1 - rate) ** 4) ** 2
    together = np.mean(rate**8) + np.mean((1 - rate) ** 8)
    assert apart == pytest.approx(together) if rates[0] == rates[1] else apart < together
