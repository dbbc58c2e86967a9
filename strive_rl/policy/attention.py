"""Attention of a block row without a mask over its prompt.

A row is [prompt columns | completion columns] (`block`). The prompt's queries see what stands before them,
which the attention kernels do by a flag; only the completions' queries need a mask, of their own number times
the row's length. The dense way holds a mask of the row's length squared, and the fastest kernels take none.
"""

from __future__ import annotations

from typing import Any

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

NAME = "strive_block_row"


def block_row_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    prompt_columns: int | None = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention [R, columns, heads, width] of transformers; plain without `prompt_columns`.

    Queries, keys and values are [R, heads, columns, width]. With `prompt_columns` P the mask is bool
    [R, 1, columns − P, columns], for the queries from column P on; those before see the keys up to their own.
    """
    if prompt_columns is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)  # type: ignore[no-any-return]
    prompt = (tensor[:, :, :prompt_columns] for tensor in (query, key, value))
    seen, _ = sdpa_attention_forward(module, *prompt, None, **options)
    if prompt_columns == query.shape[2]:
        return seen, None
    answers, _ = sdpa_attention_forward(
        module, query[:, :, prompt_columns:], key, value, attention_mask, **options
    )
    return torch.cat([seen, answers], dim=1), None


def register(model: Any) -> None:
    """Let the language model of `model` attend this way; its vision tower stays as it is."""
    AttentionInterface.register(NAME, block_row_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation({"text_config": NAME})
