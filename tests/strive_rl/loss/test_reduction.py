"""What a token weighs, by hand: the counts of the whole step, never those of the piece at hand."""

from __future__ import annotations

import torch

from strive_rl.loss.inputs import Objective
from strive_rl.loss.reduction import WEIGHTS

MASK_BL = torch.tensor([[True, True, True, True], [True, False, False, False], [False] * 4])


def test_weights_by_hand() -> None:
    # A piece of three responses of a step of 10 responses and 50 tokens.
    aim = Objective(responses=10, tokens=50, constant_tokens=4)
    by_response = [[1 / 40], [1 / 10], [1 / 10]]
    expected = {"grpo": by_response, "gspo": by_response, "dr_grpo": [[1 / 40]], "dapo": [[1 / 50]]}
    for name, weights in WEIGHTS.items():
        torch.testing.assert_close(weights(MASK_BL, aim), torch.tensor(expected[name], dtype=torch.float64))
