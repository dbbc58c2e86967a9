"""Ratios by hand."""

from __future__ import annotations

import math

import torch

from strive_rl.loss.ratio import sequence_ratio, token_ratio, truncated

LOG_RATIO_BL = torch.tensor([[math.log(2), math.log(8), 0.0], [math.log(3), 0.0, 0.0]], dtype=torch.float64)
MASK_BL = torch.tensor([[True, True, False], [True, False, False]])


def test_of_tokens_and_of_sequences() -> None:
    expected = torch.tensor([[2, 8, 1], [3, 1, 1]], dtype=torch.float64)
    torch.testing.assert_close(token_ratio(LOG_RATIO_BL, MASK_BL), expected)
    # The geometric mean over the real tokens: √16 and 3.
    expected = torch.tensor([[4.0] * 3, [3.0] * 3], dtype=torch.float64)
    torch.testing.assert_close(sequence_ratio(LOG_RATIO_BL, MASK_BL), expected)


def test_a_cap_cuts_above_only_and_lets_no_gradient_through() -> None:
    ratio = torch.tensor([[0.1, 1.0, 5.0]], requires_grad=True)
    weights = truncated(ratio, 2.0)
    assert weights.tolist() == torch.tensor([[0.1, 1.0, 2.0]]).tolist()
    assert not weights.requires_grad
