"""Attention of a block row without a mask over its prompt.

A row is [prompt columns | completion columns] (`block`). The prompt's queries see what stands before them,
which the attention kernels do by a flag; only the completions' queries need a mask, of their own number times
the row's length. The dense way holds a mask of the row's length squared, and the fastest kernels take none.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from strive_rl.policy.positions import Ids

# One row for a prompt and its G completions: who sees whom, and which state predicts which token.
#
# A row is [prompt, padding | completion 1 | … | completion G | padding], each completion without its last
# token, whose state predicts nothing. The completions of all rows start in the same column, so that
# attention
# can be split there (`attention`). Shape letters: R rows, N columns, L prompt tokens.

PADDING, PROMPT = -1, 0


@dataclass(frozen=True, kw_only=True, eq=False)
class Block:
    """Layout of one row.

    ids int64 [N] (0 where padded); positions int64 [3, N]; owner int64 [N]: 0 prompt, 1..G a completion, −1
    padding; predictors int64, for each token of completion 1, then 2, …: the column whose state predicts it.
    """

    ids: Ids
    positions: Ids
    owner: Ids
    predictors: Ids


def layout(
    prompt_ids: Ids,
    prompt_positions: Ids,
    completions: Sequence[Sequence[int]],
    *,
    prompt_columns: int,
    completion_columns: int,
) -> Block:
    """Block of one prompt (ids [L], positions [3, L]) and its completions (none empty).

    The prompt is padded to `prompt_columns`, the completions to `completion_columns`, on their right.
    """
    length, following = len(prompt_ids), int(prompt_positions.max()) + 1
    gap = prompt_columns - length
    ids, positions = [np.pad(prompt_ids, (0, gap))], [np.pad(prompt_positions, ((0, 0), (0, gap)))]
    owner = [np.repeat([PROMPT, PADDING], [length, gap])]
    predictors: list[Ids] = []
    column = prompt_columns
    for number, completion in enumerate(completions, start=1):
        kept = np.asarray(completion[:-1], dtype=np.int64)
        ids.append(kept)
        positions.append(np.tile(np.arange(following, following + len(kept)), (3, 1)))
        owner.append(np.full(len(kept), number, dtype=np.int64))
        predictors.append(np.concatenate([[length - 1], np.arange(column, column + len(kept))]))
        column += len(kept)
    tail = prompt_columns + completion_columns - column
    return Block(
        ids=np.pad(np.concatenate(ids), (0, tail)),
        positions=np.pad(np.concatenate(positions, axis=1), ((0, 0), (0, tail))),
        owner=np.pad(np.concatenate(owner), (0, tail), constant_values=PADDING),
        predictors=np.concatenate(predictors).astype(np.int64),
    )


def completion_columns(completions: Sequence[Sequence[int]]) -> int:
    """Columns that a row needs behind its prompt."""
    return sum(len(completion) - 1 for completion in completions)


def visible(owner_RN: torch.Tensor, first: int = 0) -> torch.Tensor:
    """Mask bool [R, N − first, N] on the device of `owner_RN`, True where a query (second axis) sees a key.

    Queries are the columns from `first` on. A token sees itself and what stands before it in the prompt or in
    its own completion; padding sees only itself, so that no row of the mask is empty (an empty row would give
    not-a-number).
    """
    columns = torch.arange(owner_RN.shape[1], device=owner_RN.device)
    query_RC, queries = owner_RN[:, first:, None], columns[first:, None]
    related = query_RC == owner_RN[:, None, :]
    related |= (owner_RN == PROMPT)[:, None, :]
    related &= (queries >= columns) & (query_RC != PADDING)
    return related | (queries == columns)


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
