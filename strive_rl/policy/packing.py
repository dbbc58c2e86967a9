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
import numpy.typing as npt
import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from strive_rl.policy.architectures.linear_attention import GatedDelta, Inputs
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
        self._device = device
        grid, valid = _grid([span for span in packed.spans.completions if span[1] > span[0]])
        self.own_grid = torch.from_numpy(grid - packed.spans.prompts[-1][1]).to(device)
        self.own_valid = torch.from_numpy(valid).to(device)

    def __call__(
        self, layer: int, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float
    ) -> torch.Tensor:
        """Attention [1, columns, H, D] of queries [1, H, N or K, D] over keys and values [1, A, N, D]."""
        if self._cache is not None:
            self._cache.store(layer, key, value)
        attended: torch.Tensor = _PackedFunction.apply(query, key, value, self, scale)
        return attended.transpose(1, 2)

    def linear(self, layer: int, delta: GatedDelta, inputs: Inputs) -> torch.Tensor:
        """Outputs [1, N, H, V] of a linear layer: prompts from the start, completions from their prompt's
        state."""
        grid, valid = (torch.from_numpy(each).to(self._device) for each in _grid(self._spans.prompts))
        read = inputs.at(grid, valid)
        out, state = delta.read(read, delta.start(read), valid.sum(dim=1))
        parts = [out[valid]]
        if self._cache is not None:
            self._cache.states[layer] = state
        if len(self.own_grid):
            read = inputs.at(self.own_grid + self._spans.prompts[-1][1], self.own_valid)
            own, _ = delta.read(read, state.of(self._prompt_of()))
            parts.append(own[self.own_valid])
        return torch.cat(parts)[None]

    def _prompt_of(self) -> torch.Tensor:
        """The prompt of each completion that has columns, int64 [C]."""
        ends = [end for start, end in self._spans.completions if end > start]
        behind = [end for _, end in self._spans.behind]
        return torch.from_numpy(np.searchsorted(behind, ends)).to(self._device)

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


def _grid(spans: Sequence[tuple[int, int]]) -> tuple[Ids, npt.NDArray[np.bool_]]:
    """Columns of spans as rows, int64 and bool [spans, longest]: padded places repeat a span's first column;
    what is computed there is thrown away."""
    starts = np.array([start for start, _ in spans], dtype=np.int64)
    lengths = np.array([end - start for start, end in spans], dtype=np.int64)
    columns = np.arange(int(lengths.max(initial=0)))
    valid = columns < lengths[:, None]
    return np.where(valid, starts[:, None] + columns, starts[:, None]), valid


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
    normed = layer.input_layernorm(hidden_states)
    if hasattr(layer, "self_attn"):
        mixed = _narrow_attention(layer.self_attn, normed, rows, options["position_embeddings"])
    else:
        mixed = layer.linear_attn(normed, rows=rows)[:, rows.kept]
    kept = hidden_states[:, rows.kept] + mixed
    states: torch.Tensor = kept + layer.mlp(layer.post_attention_layernorm(kept))
    return states


def _narrow_attention(
    attention: Any, normed: torch.Tensor, rows: PackedAttention, rotation: tuple[torch.Tensor, torch.Tensor]
) -> torch.Tensor:
    cos, sin = rotation
    projected = attention.q_proj(normed[:, rows.kept])
    gate: torch.Tensor | None = None
    if attention.q_proj.out_features == 2 * attention.o_proj.in_features:
        # Qwen3.5: each head's query, then its gate.
        by_head = projected.view(*projected.shape[:2], -1, 2 * attention.head_dim)
        projected, gate = (part.flatten(2) for part in by_head.chunk(2, dim=-1))
    query = _rotated(_heads(attention, "q", projected), cos[:, rows.kept], sin[:, rows.kept])
    key = _rotated(_heads(attention, "k", attention.k_proj(normed)), cos, sin)
    value = _heads(attention, "v", attention.v_proj(normed))
    attended = rows(attention.layer_idx, query, key, value, attention.scaling).flatten(2)
    out: torch.Tensor = attention.o_proj(attended if gate is None else attended * gate.sigmoid())
    return out


def _heads(attention: Any, name: str, projected: torch.Tensor) -> torch.Tensor:
    """Queries, keys or values [1, heads, columns, D], with the norm that some architectures have."""
    heads = projected.view(*projected.shape[:2], -1, attention.head_dim)
    norm = getattr(attention, f"{name}_norm", torch.nn.Identity())
    made: torch.Tensor = norm(heads)
    return made.transpose(1, 2)


def _rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary position embedding of [1, heads, columns, D] by cos, sin [1, columns, R]; only the first R
    numbers of a head are rotated."""
    turned, rest = states[..., : cos.shape[-1]], states[..., cos.shape[-1] :]
    first, second = turned.chunk(2, dim=-1)
    turned = turned * cos[:, None] + torch.cat((-second, first), dim=-1) * sin[:, None]
    return torch.cat((turned, rest), dim=-1) if rest.shape[-1] else turned
