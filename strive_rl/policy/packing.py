"""Prompts and their completions packed into one row without padding: the layout, and attention over it.

A row is [prompt 1 | … | prompt P | completions of prompt 1 | … | of prompt P], each completion without its
last token, whose state predicts nothing. A prompt token sees the tokens before it in its prompt. A completion
token sees its whole prompt and the tokens before it in its own completion.

The second case is two attention calls, one over the prompt's keys (without a mask, all completions of a
prompt at once) and one over the completion's own keys (causal), joined by their log-sum-exp as in ring
attention (arXiv 2310.01889). The cost is linear in the completion tokens, and no key of a prompt is copied.

In the last layer only the kept columns have queries: the last token of each prompt and all completion tokens.

Shape letters: P prompts, G completions of each, N columns, K kept columns, C completions that have columns,
L tokens of the longest, H query heads, A key heads, D width of a head.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from strive_rl.policy.architectures.linear_attention import Inputs, State, gated_delta
from strive_rl.policy.kernels import attend, attend_backward, fold, join, wide
from strive_rl.policy.policy import Ids
from strive_rl.schema import Prompt

Span = tuple[int, int]
KeyValues = tuple[torch.Tensor, torch.Tensor]


class SpanGrid:
    """Spans of columns as rows, `columns` int64 and `valid` bool [spans, longest]: padded places repeat a
    span's first column; what is computed there is thrown away."""

    def __init__(self, spans: Sequence[Span], device: torch.device) -> None:
        starts, ends = torch.tensor(spans, dtype=torch.int64, device=device).view(-1, 2).T[..., None]
        self.lengths = (ends - starts)[:, 0]
        places = torch.arange(max((end - start for start, end in spans), default=0), device=device)
        self.valid = places < ends - starts
        self.columns = torch.where(self.valid, starts + places, starts)
        self._places = self.valid.flatten().nonzero()[:, 0]

    def rows(self, columns: torch.Tensor) -> torch.Tensor:
        """[N, heads, …] of all columns → [spans, heads, longest, …], padded."""
        chosen = columns.index_select(0, self.columns.flatten())
        return chosen.view(*self.columns.shape, *columns.shape[1:]).transpose(1, 2)

    def packed(self, rows: torch.Tensor) -> torch.Tensor:
        """Inverse of `rows` for the columns of the spans, in their order; without what was padded."""
        return self.flat(rows.transpose(1, 2))

    def flat(self, rows: torch.Tensor) -> torch.Tensor:
        """The same of rows [spans, longest, …]. A mask as index would wait for a GPU."""
        return rows.flatten(0, 1).index_select(0, self._places)


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of the attention kernel: which queries see which keys; queries of one call are adjacent."""

    queries: slice
    keys: slice
    causal: bool

    def batch(self, queries: Sequence[torch.Tensor], keys: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Queries and keys [columns, heads, …] as the kernel takes them, [1, heads, columns, …]; without a
        causal mask the query heads that share a key head become further queries."""
        heads = (queries if self.causal else keys)[0].shape[1]
        made = [fold(each[self.queries].transpose(0, 1)[None], heads) for each in queries]
        return made + [each[self.keys].transpose(0, 1)[None] for each in keys]


class PackedRow:
    """A row on a device: its layout, and attention over it for every layer.

    ids int64 [N]; positions int64 [3, 1, N]; kept int64 [K], the columns whose states are needed; predictors
    int64, for each token of each completion in order: the place among `kept` of the state that predicts it;
    prompts [P] and completions [P][G]: their columns [start, end); following [P]: the position behind each
    prompt.

    With `keep` it holds what each layer, by its index, knows of the prompts: `keys_values` [P, A, S, D],
    padded on the right, or of a linear layer the `states` behind them.
    """

    def __init__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Sequence[Sequence[int]]],
        device: torch.device,
        *,
        keep: bool = False,
    ) -> None:
        """Pack prompts with the ids of their completions [P][G], none of them empty."""
        ids, positions = [each.ids for each in prompts], [each.positions for each in prompts]
        ends = np.cumsum([len(each) for each in ids]).tolist()
        self.prompts_end = column = ends[-1]
        self.prompts = list(pairwise([0, *ends]))
        self.following = [int(each.max()) + 1 for each in positions]
        self.completions: list[list[Span]] = [[] for _ in prompts]
        predictors: list[Ids] = []
        for number, group in enumerate(completions):
            following = self.following[number]
            for completion in group:
                fed = np.asarray(completion[:-1], dtype=np.int64)
                ids.append(fed)
                positions.append(np.tile(np.arange(following, following + len(fed)), (3, 1)))
                place = len(prompts) + column - self.prompts_end
                predictors.append(np.concatenate([[number], np.arange(place, place + len(fed))]))
                self.completions[number].append((column, column + len(fed)))
                column += len(fed)
        self.ids = torch.from_numpy(np.concatenate(ids)).to(device)
        self.positions = torch.from_numpy(np.concatenate(positions, axis=1))[:, None].to(device)
        kept = np.concatenate([np.array(ends) - 1, np.arange(self.prompts_end, column)])
        self.kept = torch.from_numpy(kept).to(device)
        self.predictors = torch.from_numpy(np.concatenate([np.zeros(0, np.int64), *predictors])).to(device)
        self.keep, self.keys_values, self.states = keep, dict[int, KeyValues](), dict[int, State]()
        self._prompts = SpanGrid(self.prompts, device)
        spans = [(n, span) for n, group in enumerate(self.completions) for span in group if span[1] > span[0]]
        self._prompt_of = torch.tensor([number for number, _ in spans], dtype=torch.int64, device=device)
        # Of the completions' columns alone.
        self.own = SpanGrid([(s - self.prompts_end, e - self.prompts_end) for _, (s, e) in spans], device)

    def __call__(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attention [1, columns, H, D] of queries [1, H, N or K, D] over keys and values [1, A, N, D]."""
        packed = [each[0].transpose(0, 1) for each in (query, key, value)]
        if self.keep:
            keys, values = (self._prompts.rows(each).contiguous() for each in packed[1:])
            self.keys_values[layer] = keys, values
        attended: torch.Tensor = _PackedFunction.apply(*packed, self, scale)
        return attended[None]

    def linear(self, mixer: Any, inputs: Inputs) -> torch.Tensor:
        """Outputs [1, N, H, V] of a linear layer: prompts from the start, completions from their prompt's
        state."""
        read = inputs.at(self._prompts.columns, self._prompts.valid)
        out, state = gated_delta(mixer, read, lengths_B=self._prompts.lengths)
        parts = [self._prompts.flat(out)]
        if self.keep:
            self.states[mixer.layer_idx] = state
        if len(self._prompt_of):
            read = inputs.at(self.own.columns + self.prompts_end, self.own.valid)
            own, _ = gated_delta(mixer, read, state.of(self._prompt_of))
            parts.append(self.own.flat(own))
        return torch.cat(parts)[None]

    def calls(self, *, narrow: bool) -> tuple[list[_Call], list[_Call]]:
        """The calls over prompts: of the prompts' own queries, and of their completions' queries."""
        first = self.prompts_end - len(self.prompts) if narrow else 0
        own = [
            _Call(queries=slice(i, i + 1) if narrow else slice(*span), keys=slice(*span), causal=not narrow)
            for i, span in enumerate(self.prompts)
        ]
        completions = [
            _Call(queries=slice(group[0][0] - first, group[-1][1] - first), keys=slice(*span), causal=False)
            for span, group in zip(self.prompts, self.completions, strict=True)
            if group and group[0][0] < group[-1][1]
        ]
        return own, completions


class _PackedFunction(torch.autograd.Function):
    """Forward and backward of `PackedRow`: queries [N or K, H, D], keys and values [N, A, D]. With the
    joint output and log-sum-exp, the gradients of the parts add up."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        query, key, value, rows, scale = inputs
        out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        lse = torch.empty(query.shape[:2], dtype=wide(query.dtype), device=query.device)
        narrow = len(query) != len(key)
        own, completions = rows.calls(narrow=narrow)
        for call in (*own, *completions):
            q, k, v = call.batch((query,), (key, value))
            part = attend(q, k, v, scale=scale, causal=call.causal)
            out[call.queries], lse[call.queries] = (_columns(each, query.shape[1]) for each in part)
        if completions:
            first = completions[0].queries.start
            q, k, v = map(rows.own.rows, (query[first:], key[rows.prompts_end :], value[rows.prompts_end :]))
            own_out, own_lse = map(rows.own.packed, attend(q, k, v, scale=scale, causal=True))
            out[first:], lse[first:] = join(out[first:], lse[first:], own_out, own_lse)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.rows, ctx.scale, ctx.narrow = rows, scale, narrow
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = gradients
        query, key, value, out, lse = ctx.saved_tensors
        rows, scale = ctx.rows, ctx.scale
        grad_query, grad_key, grad_value = torch.empty_like(query), *map(torch.zeros_like, (key, value))
        own, completions = rows.calls(narrow=ctx.narrow)
        for call in (*own, *completions):
            g, q, o, weights, k, v = call.batch((grad, query, out, lse), (key, value))
            dq, dk, dv = attend_backward(g, q, k, v, o, weights, scale=scale, causal=call.causal)
            grad_query[call.queries] = _columns(dq, query.shape[1])
            grad_key[call.keys] += _columns(dk, key.shape[1])
            grad_value[call.keys] += _columns(dv, key.shape[1])
        if completions:
            first, end = completions[0].queries.start, rows.prompts_end
            g, q, o, weights = (rows.own.rows(x[first:]) for x in (grad, query, out, lse))
            k, v = rows.own.rows(key[end:]), rows.own.rows(value[end:])
            # exp(score − ∞) = 0: a padded query gives no gradient.
            weights = weights.masked_fill(~rows.own.valid[:, None], torch.inf)
            dq, dk, dv = attend_backward(g, q, k, v, o, weights, scale=scale, causal=True)
            grad_query[first:] += rows.own.packed(dq)
            grad_key[end:] = rows.own.packed(dk)
            grad_value[end:] = rows.own.packed(dv)
        return grad_query, grad_key, grad_value, None, None


def _columns(batch: torch.Tensor, heads: int) -> torch.Tensor:
    """[1, …, …] of `_Call.batch` → [columns, heads, …]."""
    return fold(batch, heads)[0].transpose(0, 1)
