"""The block row's attention against plain softmax under the mask that it spares."""

from __future__ import annotations

import pytest
import torch

from strive_rl.policy.attention import block_row_attention

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
