"""The row of a prompt and its completions, by hand."""

from __future__ import annotations

import numpy as np
import torch

from strive_rl.policy.block import layout, padded, visible


def two_completions() -> tuple[np.ndarray, np.ndarray]:
    return np.array([7, 8, 9]), np.array([[0, 4, 5], [0, 1, 5], [0, 1, 5]])


def test_layout_by_hand() -> None:
    block = layout(*two_completions(), [(20, 21, 22), (30,), (40, 41)])
    assert block.ids.tolist() == [7, 8, 9, 20, 21, 40]
    assert block.owner.tolist() == [0, 0, 0, 1, 1, 3]
    assert block.positions.tolist() == [[0, 4, 5, 6, 7, 6], [0, 1, 5, 6, 7, 6], [0, 1, 5, 6, 7, 6]]
    assert block.predictors.tolist() == [2, 3, 4, 2, 2, 5]


def test_padding_by_hand() -> None:
    block = padded(layout(*two_completions(), [(20, 21)]), 6)
    assert block.ids.tolist() == [7, 8, 9, 20, 0, 0]
    assert block.owner.tolist() == [0, 0, 0, 1, -1, -1]
    assert block.positions.shape == (3, 6)
    assert block.predictors.tolist() == [2, 3]


def test_visible_by_hand() -> None:
    mask = visible(torch.tensor([[0, 0, 1, 1, 2, -1]]))
    expected = [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    assert mask[0].int().tolist() == expected
