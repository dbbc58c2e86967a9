"""The row of a prompt and its completions, by hand."""

from __future__ import annotations

import numpy as np
import torch

from strive_rl.policy.block import Block, completion_columns, layout, visible

COMPLETIONS = [(20, 21, 22), (30,), (40, 41)]


def row(completions: list[tuple[int, ...]], prompt_columns: int, completion_columns: int) -> Block:
    ids, positions = np.array([7, 8, 9]), np.array([[0, 4, 5], [0, 1, 5], [0, 1, 5]])
    return layout(
        ids,
        positions,
        completions,
        prompt_columns=prompt_columns,
        completion_columns=completion_columns,
    )


def test_layout_by_hand() -> None:
    assert completion_columns(COMPLETIONS) == 3
    block = row(COMPLETIONS, 3, 3)
    assert block.ids.tolist() == [7, 8, 9, 20, 21, 40]
    assert block.owner.tolist() == [0, 0, 0, 1, 1, 3]
    assert block.positions.tolist() == [[0, 4, 5, 6, 7, 6], [0, 1, 5, 6, 7, 6], [0, 1, 5, 6, 7, 6]]
    assert block.predictors.tolist() == [2, 3, 4, 2, 2, 5]


def test_padding_stands_behind_the_prompt_and_behind_the_completions() -> None:
    block = row(COMPLETIONS, 5, 4)
    assert block.ids.tolist() == [7, 8, 9, 0, 0, 20, 21, 40, 0]
    assert block.owner.tolist() == [0, 0, 0, -1, -1, 1, 1, 3, -1]
    assert block.positions[0].tolist() == [0, 4, 5, 0, 0, 6, 7, 6, 0]
    assert block.predictors.tolist() == [2, 5, 6, 2, 2, 7]


def test_completions_of_one_token_need_no_column() -> None:
    block = row([(20,), (30,)], 4, 0)
    assert block.owner.tolist() == [0, 0, 0, -1]
    assert block.predictors.tolist() == [2, 2]


def test_visible_by_hand() -> None:
    owner = torch.tensor([[0, 0, -1, 1, 1, 2, -1]])
    expected = [
        [1, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0],
        [0, 0, 1, 0, 0, 0, 0],
        [1, 1, 0, 1, 0, 0, 0],
        [1, 1, 0, 1, 1, 0, 0],
        [1, 1, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1],
    ]
    assert visible(owner)[0].int().tolist() == expected
    assert visible(owner, 3)[0].int().tolist() == expected[3:]
