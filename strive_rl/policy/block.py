"""One row for a prompt and its G completions: who sees whom, and which state predicts which token.

A row is [prompt | completion 1 | … | completion G | padding], each completion without its last token, whose
state predicts nothing. Shape letters: R rows, N columns, P prompt tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from strive_rl.policy.positions import Ids

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


def layout(prompt_ids: Ids, prompt_positions: Ids, completions: Sequence[Sequence[int]]) -> Block:
    """Block of one prompt (ids [P], positions [3, P]) and its completions (none empty), unpadded."""
    length, following = len(prompt_ids), int(prompt_positions.max()) + 1
    ids, positions, owner, predictors = [prompt_ids], [prompt_positions], [np.zeros(length, np.int64)], []
    column = length
    for number, completion in enumerate(completions, start=1):
        kept = np.asarray(completion[:-1], dtype=np.int64)
        ids.append(kept)
        positions.append(np.tile(np.arange(following, following + len(kept)), (3, 1)))
        owner.append(np.full(len(kept), number, dtype=np.int64))
        predictors.append(np.concatenate([[length - 1], np.arange(column, column + len(kept))]))
        column += len(kept)
    return Block(
        ids=np.concatenate(ids),
        positions=np.concatenate(positions, axis=1),
        owner=np.concatenate(owner),
        predictors=np.concatenate(predictors).astype(np.int64),
    )


def padded(block: Block, columns: int) -> Block:
    """The block with padding on its right up to `columns`."""
    missing = columns - len(block.ids)
    return Block(
        ids=np.pad(block.ids, (0, missing)),
        positions=np.pad(block.positions, ((0, 0), (0, missing))),
        owner=np.pad(block.owner, (0, missing), constant_values=PADDING),
        predictors=block.predictors,
    )


def visible(owner_RN: torch.Tensor) -> torch.Tensor:
    """Mask bool [R, N, N] on the device of `owner_RN`, True where a query (second axis) sees a key (third).

    A token sees itself and what stands before it in the prompt or in its own completion; padding sees only
    itself, so that no row of the mask is empty (an empty row would give not-a-number).
    """
    columns = torch.arange(owner_RN.shape[1], device=owner_RN.device)
    related = owner_RN[:, :, None] == owner_RN[:, None, :]
    related |= (owner_RN == PROMPT)[:, None, :] & (owner_RN != PADDING)[:, :, None]
    before = columns[:, None] >= columns[None, :]
    related &= before & (owner_RN != PADDING)[:, :, None]
    return related | torch.eye(len(columns), dtype=torch.bool, device=owner_RN.device)
