"""Random numbers by key, and the draw by cumulative probabilities."""

from __future__ import annotations

import numpy as np
import torch

from strive_rl.policy.chance import Chance, pick

GOLDEN = [0.867713861156389, 0.6105935386292665]


def test_numbers_follow_from_the_key_alone() -> None:
    few, many = Chance(seed=3).uniforms(2, 5), Chance(seed=3).uniforms(4, 9)
    np.testing.assert_array_equal(many[:2, :5], few)
    others = [Chance(seed=4), Chance(seed=3, epoch=1), Chance(seed=3, position=1), Chance(seed=3, variant=1)]
    rows = [row.tobytes() for chance in (Chance(seed=3), *others) for row in chance.uniforms(4, 5)]
    assert len(set(rows)) == 20


def test_numbers_are_uniform_golden_and_below_one() -> None:
    numbers = Chance(seed=0).uniforms(20, 5000)
    assert 0 <= numbers.min() < numbers.max() < 1
    counts, _ = np.histogram(numbers, bins=100, range=(0, 1))
    assert ((counts - 1000) ** 2 / 1000).sum() < 100 + 5 * 200**0.5
    assert abs(np.corrcoef(numbers[:, :-1].ravel(), numbers[:, 1:].ravel())[0, 1]) < 0.02
    np.testing.assert_allclose(numbers[0, :2], GOLDEN, rtol=0, atol=1e-15)


def test_the_draw_is_the_inverse_of_the_cumulative_distribution() -> None:
    chances = torch.tensor([[0.0, 0.25, 0.0, 0.5, 0.25, 0.0]])
    numbers = torch.tensor([0.0, 0.2499, 0.25, 0.7499, 0.75, 1 - 2.0**-52], dtype=torch.float64)
    ids = pick(chances.expand(6, -1), numbers)
    assert ids.tolist() == [1, 1, 3, 3, 4, 4]


def test_probabilities_beside_which_float32_would_be_blind() -> None:
    """2^15 ids of 2^-26 behind one of nearly 1: each number lands where it should, to the id."""
    count = 1 << 15
    chances = torch.full((1, count + 1), 2.0**-26)
    chances[0, 0] = 1 - 2.0**-11
    for wanted in (1, 77, count):
        number = 1 - 2.0**-11 + (wanted - 0.5) * 2.0**-26
        assert pick(chances, torch.tensor([number], dtype=torch.float64)).item() == wanted
