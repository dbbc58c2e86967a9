"""Prompts and their completions packed into one row without padding: the layout, and attention over it.

A row is [prompt 1 | … | prompt P | completions of prompt 1 | … | of prompt P], each completion without its
last token, whose state predicts nothing. A prompt token sees the tokens before it in its prompt. A completion
token sees its whole prompt and the tokens before it in its own completion.

The second case is two attention calls, one over the prompt's keys (without a mask, all completions of a
prompt at once) and one over the completion's own keys (causal), joined by their log-sum-exp as in ring
attention (arXiv 2310.01889). The cost is linear in the completion tokens, and no key is ever copied: the
query heads that share a key head are folded into the queries.

In the last layer only the kept columns have queries: the last token of each prompt and all completion tokens.

Shape letters: P prompts, N columns, K kept columns, C completions, L tokens of a completion, H query heads,
A key heads, D width of a head.
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

from strive_rl.policy.decode import PromptCache
from strive_rl.policy.kernels import attend, attend_backward, fold, wide
from strive_rl.policy.positions import Ids

NAME = "strive_packed"


@dataclass(frozen=True, kw_only=True, eq=False)
class Packed:
    """Layout of a row.

    ids int64 [N]; positions int64 [3, N]; kept int64 [K], the columns whose states are needed; predictors
    int64, for each token of each completion in order: the place among `kept` of the state that predicts it.
    """

    ids: Ids
    positions: Ids
    kept: Ids
    predictors: Ids
    spans: Spans


@dataclass(frozen=True, kw_only=True)
class Spans:
    """Column ranges [start, end): of each prompt, of the completions of each prompt, of each completion."""

    prompts: tuple[tuple[int, int], ...]
    behind: tuple[tuple[int, int], ...]
    completions: tuple[tuple[int, int], ...]


def pack(
    prompts: Sequence[tuple[Ids, Ids]], completions: Sequence[Sequence[Sequence[int]]] | None = None
) -> Packed:
    """Pack prompts (ids [L], positions [3, L]) with their completions [P][G], none of them empty."""
    groups = [[] for _ in prompts] if completions is None else [list(group) for group in completions]
    ids, positions = [prompt[0] for prompt in prompts], [prompt[1] for prompt in prompts]
    prompt_spans = _spans([len(each) for each in ids])
    column = prompts_end = prompt_spans[-1][1]
    behind: list[tuple[int, int]] = []
    own: list[tuple[int, int]] = []
    predictors: list[Ids] = []
    for number, (group, (_, prompt_positions)) in enumerate(zip(groups, prompts, strict=True)):
        first, following = column, int(prompt_positions.max()) + 1
        for completion in group:
            fed = np.asarray(completion[:-1], dtype=np.int64)
            ids.append(fed)
            positions.append(np.tile(np.arange(following, following + len(fed)), (3, 1)))
            place = len(prompts) + column - prompts_end
            predictors.append(np.concatenate([[number], np.arange(place, place + len(fed))]))
            own.append((column, column + len(fed)))
            column += len(fed)
        behind.append((first, column))
    last_tokens = [end - 1 for _, end in prompt_spans]
    return Packed(
        ids=np.concatenate(ids),
        positions=np.concatenate(positions, axis=1),
        kept=np.concatenate([last_tokens, np.arange(prompts_end, column)]).astype(np.int64),
        predictors=np.concatenate(predictors) if predictors else np.zeros(0, dtype=np.int64),
        spans=Spans(prompts=prompt_spans, behind=tuple(behind), completions=tuple(own)),
    )


def _spans(lengths: Sequence[int]) -> tuple[tuple[int, int], ...]:
    ends = np.cumsum(lengths).tolist()
    return tuple(zip([0, *ends[:-1]], ends, strict=True))


@dataclass(frozen=True, kw_only=True)
class _Call:
    """One call of the attention kernel: which queries see which keys; queries of one call are adjacent."""

    queries: slice
    keys: slice
    causal: bool


class PackedAttention:
    """Attention over a packed row, for every layer; `kept` int64 [K] as in `Packed`, on the device.

    With a `cache` the keys and values of every layer are stored in it.
    """

    def __init__(self, packed: Packed, device: torch.device, cache: PromptCache | None = None) -> None:
        self._cache = cache
        self.kept = torch.from_numpy(packed.kept).to(device)
        self._spans = packed.spans
        starts = np.array([start for start, end in packed.spans.completions if end > start], dtype=np.int64)
        lengths = np.array([end - start for start, end in packed.spans.completions if end > start])
        columns = np.arange(int(lengths.max(initial=0)))
        valid = columns < lengths[:, None]
        # Padded places repeat the completion's first column; what is computed there is thrown away.
        grid = np.where(valid, starts[:, None] + columns, starts[:, None]) - packed.spans.prompts[-1][1]
        self.own_grid = torch.from_numpy(grid).to(device)
        self.own_valid = torch.from_numpy(valid).to(device)

    def __call__(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attention [1, columns, H, D] of queries [1, H, N or K, D] over keys and values [1, A, N, D]."""
        if self._cache is not None:
            self._cache.store(key, value)
        attended: torch.Tensor = _PackedFunction.apply(query, key, value, self, scale)
        return attended.transpose(1, 2)

    def calls(self, *, narrow: bool) -> tuple[list[_Call], list[_Call]]:
        """The calls over prompts: of the prompts' own queries, and of their completions' queries."""
        prompts, behind = self._spans.prompts, self._spans.behind
        first = prompts[-1][1] - len(prompts) if narrow else 0
        own = [
            _Call(queries=slice(i, i + 1) if narrow else slice(*span), keys=slice(*span), causal=not narrow)
            for i, span in enumerate(prompts)
        ]
        completions = [
            _Call(queries=slice(start - first, end - first), keys=slice(*span), causal=False)
            for span, (start, end) in zip(prompts, behind, strict=True)
            if end > start
        ]
        return own, completions


class _PackedFunction(torch.autograd.Function):
    """Forward and backward of `PackedAttention`. A part's backward takes the joint output and log-sum-exp:
    they turn its scores into the joint probabilities, so that gradients of the parts add up."""

    @staticmethod
    def forward(ctx: Any, *inputs: Any) -> torch.Tensor:
        query, key, value, rows, scale = inputs
        narrow = query.shape[2] != key.shape[2]
        out = torch.empty(query.shape, dtype=query.dtype, device=query.device)
        lse = torch.empty(query.shape[:3], dtype=wide(query.dtype), device=query.device)
        own, completions = rows.calls(narrow=narrow)
        for call in (*own, *completions):
            q, k, v = query[:, :, call.queries], key[:, :, call.keys], value[:, :, call.keys]
            heads = q.shape[1] if call.causal else k.shape[1]
            part, part_lse = attend(fold(q, heads), k, v, scale=scale, causal=call.causal)
            out[:, :, call.queries] = part.reshape(q.shape)
            lse[:, :, call.queries] = part_lse.reshape(q.shape[:3])
        if completions:
            behind = slice(completions[0].queries.start, None)
            first = key.shape[2] - (query.shape[2] - behind.start)
            q, k, v = (
                _to_grid(x, rows) for x in (query[:, :, behind], key[:, :, first:], value[:, :, first:])
            )
            part, part_lse = (_from_grid(x, rows) for x in attend(q, k, v, scale=scale, causal=True))
            _join(out[:, :, behind], lse[:, :, behind], part, part_lse)
        ctx.save_for_backward(query, key, value, out, lse)
        ctx.rows, ctx.scale, ctx.narrow = rows, scale, narrow
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (grad,) = gradients
        query, key, value, out, lse = ctx.saved_tensors
        grad_query, grad_key, grad_value = (torch.zeros_like(x) for x in (query, key, value))
        own, completions = ctx.rows.calls(narrow=ctx.narrow)
        for call in (*own, *completions):
            k, v, q_shape = key[:, :, call.keys], value[:, :, call.keys], query[:, :, call.queries].shape
            heads = q_shape[1] if call.causal else k.shape[1]
            g, q, o = (fold(x[:, :, call.queries], heads) for x in (grad, query, out))
            dq, dk, dv = attend_backward(
                g, q, k, v, o, fold(lse[:, :, call.queries], heads), scale=ctx.scale, causal=call.causal
            )
            grad_query[:, :, call.queries] += dq.reshape(q_shape)
            grad_key[:, :, call.keys] += dk
            grad_value[:, :, call.keys] += dv
        if completions:
            behind = slice(completions[0].queries.start, None)
            first = key.shape[2] - (query.shape[2] - behind.start)
            g, q, o = (_to_grid(x[:, :, behind], ctx.rows) for x in (grad, query, out))
            k, v = (_to_grid(x[:, :, first:], ctx.rows) for x in (key, value))
            hidden = ~ctx.rows.own_valid[:, None]
            g = g.masked_fill(hidden[..., None], 0)
            # exp(score − ∞) = 0: a padded query gives no gradient.
            weights = _to_grid(lse[:, :, behind], ctx.rows).masked_fill(hidden, torch.inf)
            dq, dk, dv = attend_backward(g, q, k, v, o, weights, scale=ctx.scale, causal=True)
            grad_query[:, :, behind] += _from_grid(dq, ctx.rows)
            grad_key[:, :, first:] += _from_grid(dk, ctx.rows)
            grad_value[:, :, first:] += _from_grid(dv, ctx.rows)
        return grad_query, grad_key, grad_value, None, None


def _join(out: torch.Tensor, lse: torch.Tensor, part: torch.Tensor, part_lse: torch.Tensor) -> None:
    """Join attention over two sets of keys, in place: outputs [1, H, n, D], log-sum-exps [1, H, n]."""
    joint = torch.logaddexp(lse, part_lse)
    first, second = (lse - joint).exp()[..., None], (part_lse - joint).exp()[..., None]
    out.copy_(out * first + part * second)
    lse.copy_(joint)


def _to_grid(packed: torch.Tensor, rows: PackedAttention) -> torch.Tensor:
    """[1, heads, columns, …] of packed completions → [C, heads, L, …], padded."""
    return packed[0][:, rows.own_grid].transpose(0, 1).contiguous()


def _from_grid(grid: torch.Tensor, rows: PackedAttention) -> torch.Tensor:
    """Inverse of `_to_grid`, without what was padded."""
    return grid.transpose(0, 1)[:, rows.own_valid][None]


def packed_attention(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    rows: Any = None,
    **options: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of transformers, by `rows` (a `PackedAttention` or `decode.Decoding`); plain without it."""
    if rows is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **options)  # type: ignore[no-any-return]
    return rows(module.layer_idx, query, key, value, module.scaling), None


def register(model: Any) -> None:
    """Let the language model of `model` attend this way, its last layer for the kept columns alone."""
    AttentionInterface.register(NAME, packed_attention)
    AttentionMaskInterface.register(NAME, sdpa_mask)
    model.set_attn_implementation({"text_config": NAME})
    last = model.model.language_model.layers[-1]
    last.__class__ = _narrow_layer(type(last))


def _narrow_layer(kind: Any) -> Any:
    """A class of decoder layers that give the states of the kept columns alone where `narrow` is asked for.

    A subclass and not another `forward` of the one layer: transformers and FSDP2 wrap that of the class.
    """

    def forward(layer: Any, hidden_states: torch.Tensor, *, narrow: bool = False, **options: Any) -> Any:
        return (_narrow if narrow else kind.forward)(layer, hidden_states, **options)

    return type(f"Narrow{kind.__name__}", (kind,), {"forward": forward})


def _narrow(
    layer: Any, hidden_states: torch.Tensor, *, rows: PackedAttention, **options: Any
) -> torch.Tensor:
    attention = layer.self_attn
    cos, sin = options["position_embeddings"]
    normed = layer.input_layernorm(hidden_states)
    query = _rotated(_heads(attention, "q", normed[:, rows.kept]), cos[:, rows.kept], sin[:, rows.kept])
    key, value = _rotated(_heads(attention, "k", normed), cos, sin), _heads(attention, "v", normed)
    attended = rows(attention.layer_idx, query, key, value, attention.scaling)
    kept = hidden_states[:, rows.kept] + attention.o_proj(attended.flatten(2))
    states: torch.Tensor = kept + layer.mlp(layer.post_attention_layernorm(kept))
    return states


def _heads(attention: Any, name: str, states: torch.Tensor) -> torch.Tensor:
    """Queries, keys or values [1, heads, columns, D], with the norm that some architectures have."""
    projected: torch.Tensor = getattr(attention, f"{name}_proj")(states)
    heads = projected.view(*states.shape[:2], -1, attention.head_dim)
    norm = getattr(attention, f"{name}_norm", torch.nn.Identity())
    made: torch.Tensor = norm(heads)
    return made.transpose(1, 2)


def _rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of [1, heads, columns, D] by cos, sin [1, columns, D]."""
    first, second = states.chunk(2, dim=-1)
    return states * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]
