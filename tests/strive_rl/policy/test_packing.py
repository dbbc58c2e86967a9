"""The block row's attention against plain softmax under the mask that it spares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from strive_rl.policy.packing import Block, block_row_attention, completion_columns, layout, visible

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


PROMPT, ANSWERS, HEADS, WIDTH = 5, 4, 2, 8
ALL = PROMPT + ANSWERS


class Layer(torch.nn.Module):
    is_causal = True
    num_key_value_groups = 1


def tensors() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, HEADS, ALL, WIDTH, generator=generator, dtype=torch.float64) for _ in range(3)]


def dense_mask() -> torch.Tensor:
    """Two completions of two tokens behind the prompt: each sees the prompt and itself up to there."""
    mask = torch.ones(ALL, ALL, dtype=torch.bool).tril()
    mask[PROMPT + 2 :, PROMPT : PROMPT + 2] = False
    return mask


def reference(mask: torch.Tensor) -> torch.Tensor:
    query, key, value = tensors()
    scores = (query @ key.transpose(-1, -2) / WIDTH**0.5).masked_fill(~mask, float("-inf"))
    return (scores.softmax(-1) @ value).transpose(1, 2)


def attended(mask: torch.Tensor | None, prompt_columns: int | None) -> torch.Tensor:
    query, key, value = tensors()
    seen, none = block_row_attention(
        Layer(), query, key, value, mask, prompt_columns=prompt_columns, scaling=WIDTH**-0.5
    )
    assert none is None
    return seen


def test_a_block_row_is_the_dense_mask() -> None:
    mask = dense_mask()
    rows = mask[PROMPT:].expand(2, 1, ANSWERS, ALL)
    assert torch.allclose(attended(rows, PROMPT), reference(mask), atol=1e-12)
    causal = torch.ones(ALL, ALL, dtype=torch.bool).tril()
    assert not torch.allclose(attended(rows, PROMPT), reference(causal), atol=1e-3)


@pytest.mark.parametrize("prompt_columns", [None, ALL])
def test_without_answers_it_is_causal(prompt_columns: int | None) -> None:
    causal = torch.ones(ALL, ALL, dtype=torch.bool).tril()
    assert torch.allclose(attended(None, prompt_columns), reference(causal), atol=1e-12)
